"""The pictures that need more than one figure per contender: distributions and time series."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from statistics import median
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from greensock.compare.figures import COLOURS, MARKERS, Plot
from greensock.compare.findings import Finding
from greensock.compare.rounds import Comparison
from greensock.compare.summary import Summary
from greensock.compare.trial import Trial
from greensock.loadtest.histogram import Histogram

_SPECTRUM = (50, 75, 90, 95, 99, 99.5, 99.9, 99.95, 99.99)  # percent, drawn on a 1/(1-p) axis


def typical_trials(comparison: Comparison, summaries: Sequence[Summary]) -> dict[str, Trial]:
    """For each contender the finished trial whose p99 is nearest to its median."""
    found = {}
    for summary in summaries:
        trials = [
            trial
            for trial in comparison.of(summary.contender)
            if trial.failed is None and trial.load.p99 is not None
        ]
        if trials:
            middle = median(trial.load.p99 or 0.0 for trial in trials)
            found[summary.contender] = min(
                trials, key=lambda trial: abs((trial.load.p99 or 0.0) - middle)
            )
    return found


def pictures_over_time(
    comparison: Comparison, summaries: Sequence[Summary], findings: Mapping[str, Finding]
) -> Iterator[Plot]:
    trials = typical_trials(comparison, summaries)
    if not trials:
        return
    yield spectrum(comparison, trials, findings)
    yield seconds_plot(trials, findings)
    yield rate_plot(comparison, trials, findings)
    yield memory_plot(trials)
    yield cpu_plot(trials)
    if comparison.plan.rate is None or len(comparison.plan.stages) > 1:
        metric = "max_rate" if comparison.plan.rate is None else "p99"
        sentence = f"p99 against the rate: {findings[metric].sentence}"
        yield knee_plot(comparison, trials, sentence)


def legend(axes: Any) -> None:
    """Beside the axes: inside, it would cover what it explains."""
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=9)


def spectrum(
    comparison: Comparison, trials: Mapping[str, Trial], findings: Mapping[str, Finding]
) -> Plot:
    title = findings["p99"].sentence

    def draw(figure: Figure) -> None:
        axes: Any = figure.subplots()
        for name in trials:
            whole = Histogram()
            for trial in comparison.of(name):
                whole.merge_pairs(trial.load.histogram)
            # Beyond 1 - 10/n a percentile rests on fewer than ten requests.
            known = [p for p in _SPECTRUM if whole.count * (1 - p / 100) >= 10 or p == 50]
            axes.plot(
                [1 / (1 - p / 100) for p in known],
                [max(whole.quantile(p / 100), 0.001) for p in known],
                color=COLOURS[name],
                marker=MARKERS[name],
                markersize=5,
                label=name,
            )
        axes.set_xscale("log")
        axes.set_yscale("log")
        ticks = (50, 90, 99, 99.9, 99.99)
        axes.set_xticks([1 / (1 - p / 100) for p in ticks], [f"{p:g} %" for p in ticks])
        axes.minorticks_off()
        plain_log_ticks(axes)
        axes.set_xlabel("share of the requests that were answered within ... (all rounds)")
        axes.set_ylabel("ms")
        legend(axes)

    return Plot("percentiles", title, draw)


def plain_log_ticks(axes: Any) -> None:
    """0.1, 1, 10 instead of powers of ten."""
    axes.yaxis.set_major_formatter(lambda value, _place: f"{value:g}")
    # Between them only where there is room: less than one power of ten has no tick of its own.
    low, high = axes.get_ylim()
    narrow = high / low < 20
    axes.tick_params(axis="y", which="minor", labelsize=7)
    axes.yaxis.set_minor_formatter(lambda value, _place: f"{value:g}" if narrow else "")


def seconds_plot(trials: Mapping[str, Trial], findings: Mapping[str, Finding]) -> Plot:
    title = f"Each second of a typical round: {findings['p50'].sentence}"

    def draw(figure: Figure) -> None:
        axes: Any = figure.subplots()
        for name, trial in trials.items():
            rows = [row for row in trial.load.seconds if row.p50 is not None]
            times = [row.t - trial.load.window[0] for row in rows]
            look = {"color": COLOURS[name], "marker": MARKERS[name], "markersize": 5}
            axes.plot(times, [row.p99 for row in rows], label=f"{name} p99", **look)
            axes.plot(times, [row.p50 for row in rows], label=f"{name} p50", linestyle=":", **look)
        axes.set_yscale("log")
        plain_log_ticks(axes)
        whole_seconds(axes)
        axes.set_ylabel("ms")
        legend(axes)

    return Plot("latency_over_time", title, draw)


def rate_plot(
    comparison: Comparison, trials: Mapping[str, Trial], findings: Mapping[str, Finding]
) -> Plot:
    title = f"Each second of a typical round: {findings['rps'].sentence}"
    failing = any(trial.load.failures for trial in trials.values())

    def draw(figure: Figure) -> None:
        axes: Any = figure.subplots()
        for name, trial in trials.items():
            times = [row.t - trial.load.window[0] for row in trial.load.seconds]
            look = {"color": COLOURS[name], "marker": MARKERS[name], "markersize": 5}
            requests = [row.requests for row in trial.load.seconds]
            axes.plot(times, requests, label=name, **look)
            if trial.load.failures:
                failed = [row.failures for row in trial.load.seconds]
                axes.plot(times, failed, label=f"{name} failures", linestyle=":", **look)
        target = comparison.plan.target_rate()
        if target and not comparison.plan.stages:
            axes.axhline(target, color="black", linestyle="--", linewidth=1, label="asked for")
        axes.set_ylim(bottom=0)
        whole_seconds(axes)
        axes.set_ylabel("requests per second" + (" (dotted: failures)" if failing else ""))
        legend(axes)

    return Plot("requests_over_time", title, draw)


def memory_plot(trials: Mapping[str, Trial]) -> Plot:
    peaks = {name: max((s.pss or 0) for s in readings(trial)) for name, trial in trials.items()}
    most = max(peaks, key=lambda name: peaks[name])
    title = f"Memory of the server's processes: {most} comes to {mib(peaks[most]):,.0f} MiB"

    def draw(figure: Figure) -> None:
        axes: Any = figure.subplots()
        for name, trial in trials.items():
            rows = [row for row in readings(trial) if row.pss is not None]
            start = trial.load.window[0]
            look = {"color": COLOURS[name], "marker": MARKERS[name], "markersize": 5}
            axes.plot([r.t - start for r in rows], [mib(r.pss) for r in rows], label=name, **look)
        mark_phases(axes, trials)
        axes.set_ylim(bottom=0)
        whole_seconds(axes)
        axes.set_ylabel("MiB (PSS)")
        legend(axes)

    return Plot("memory_over_time", title, draw)


_SHOWN_BEFORE = 8.0  # seconds before the measured time


def mark_phases(axes: Any, trials: Mapping[str, Trial]) -> None:
    """The measured time, and when each contender's idle clients were complete."""
    first, last = next(iter(trials.values())).load.window
    axes.axvspan(0, last - first, color="#EEEEEE", zorder=0)
    for name, trial in trials.items():
        if "idle" in trial.phases:
            held = trial.phases["idle"].t - trial.load.window[0]
            axes.axvline(held, color=COLOURS[name], linewidth=1, linestyle="--")
    # A contender that took long to serve its idle clients would squeeze the others' time.
    axes.set_xlim(left=max(axes.get_xlim()[0], -_SHOWN_BEFORE))


def whole_seconds(axes: Any) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    dashed = (
        "; dashed: idle clients held"
        if any(line.get_linestyle() == "--" and line.get_color() != "black" for line in axes.lines)
        else ""
    )
    axes.set_xlabel(f"seconds since the measured time began{dashed}")


def mib(size: int | None) -> float:
    return (size or 0) / 2**20


def readings(trial: Trial) -> list[Any]:
    """All readings of a trial in the order of time."""
    return sorted([*trial.phases.values(), *trial.samples], key=lambda sample: sample.t)


def cpu_plot(trials: Mapping[str, Trial]) -> Plot:
    def shares(trial: Trial) -> tuple[list[float], list[float]]:
        rows = readings(trial)
        times, percents = [], []
        for before, after in pairwise(rows):
            if after.t - before.t >= 0.3:  # shorter spans say more about the reading than the load
                times.append((before.t + after.t) / 2 - trial.load.window[0])
                percents.append(100 * (after.cpu - before.cpu) / (after.t - before.t))
        return times, percents

    series = {name: shares(trial) for name, trial in trials.items()}
    most = max(series, key=lambda name: max(series[name][1], default=0.0))
    peak = max(series[most][1], default=0.0)
    title = f"CPU of the server: {most} comes to {peak:.0f} % of a core"

    def draw(figure: Figure) -> None:
        axes: Any = figure.subplots()
        for name, (times, percents) in series.items():
            look = {"color": COLOURS[name], "marker": MARKERS[name], "markersize": 5}
            axes.plot(times, percents, label=name, **look)
        mark_phases(axes, trials)
        axes.set_ylim(bottom=0)
        whole_seconds(axes)
        axes.set_ylabel("% of a core")
        legend(axes)

    return Plot("cpu_over_time", title, draw)


def knee_plot(comparison: Comparison, trials: Mapping[str, Trial], title: str) -> Plot:
    """Each point is a step of the search, or one second of staged rates."""

    def points(trial: Trial) -> list[tuple[float, float]]:
        if trial.search is not None:
            pairs = [(step.asked, step.p99) for step in trial.search.steps]
        else:
            pairs = [(float(row.requests), row.p99) for row in trial.load.seconds]
        return sorted((rate, p99) for rate, p99 in pairs if p99 is not None)

    def draw(figure: Figure) -> None:
        axes: Any = figure.subplots()
        for name in trials:
            rows = sorted(point for trial in comparison.of(name) for point in points(trial))
            axes.plot(
                [rate for rate, _ in rows],
                [p99 for _, p99 in rows],
                color=COLOURS[name],
                marker=MARKERS[name],
                markersize=4,
                linewidth=0.8,
                label=name,
            )
        axes.set_yscale("log")
        plain_log_ticks(axes)
        axes.set_xlim(left=0)
        axes.set_xlabel("requests per second")
        axes.set_ylabel("p99, ms")
        legend(axes)

    return Plot("p99_against_rate", title, draw)
