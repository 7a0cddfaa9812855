"""The pictures that need more than one figure per contender: distributions and time series."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise, takewhile
from statistics import median
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from greensock.compare.planning.plan import Plan
from greensock.compare.reports.figures import COLOURS, MARKERS, Plot, in_thousands
from greensock.compare.results.findings import Finding
from greensock.compare.results.summary import LIMIT_FLAG, Summary
from greensock.compare.trials.rate_search import SLOWEST
from greensock.compare.trials.rounds import Comparison
from greensock.compare.trials.trial import Trial
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
        yield knee_plot(comparison, trials, knee_title(comparison, summaries))


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
        furthest = axes.dataLim.x1
        ticks = [p for p in (50, 90, 99, 99.9, 99.99) if 1 / (1 - p / 100) <= 1.01 * furthest]
        axes.set_xticks([1 / (1 - p / 100) for p in ticks], [f"{p:g} %" for p in ticks])
        axes.minorticks_off()
        plain_log_ticks(axes)
        axes.set_xlabel("share of the requests that were answered within ... (all rounds)")
        axes.set_ylabel("ms")
        legend(axes)

    return Plot("percentiles", title, draw, legend=len(trials))


def plain_log_ticks(axes: Any) -> None:
    """0.1, 0.2, 0.5, 1 instead of powers of ten; these alone where they are many."""
    low, high = axes.get_ylim()
    if high / low < 4:  # room around so little that it would have no tick
        axes.set_ylim(low / 1.6, high * 1.6)
    between = (1.0, 2.0, 5.0) if high / low < 1000 else (1.0,)
    axes.yaxis.set_major_locator(LogLocator(subs=between))
    axes.yaxis.set_major_formatter(in_thousands)
    axes.yaxis.set_minor_formatter(NullFormatter())


def seconds_plot(trials: Mapping[str, Trial], findings: Mapping[str, Finding]) -> Plot:
    title = f"{findings['p50'].sentence}; here each second of a typical round"

    def draw(figure: Figure) -> None:
        axes: Any = figure.subplots()
        for name, trial in trials.items():
            rows = [row for row in trial.load.seconds if row.p50 is not None]
            times = [row.t - span(trial)[0] for row in rows]
            look = {"color": COLOURS[name], "marker": MARKERS[name], "markersize": 5}
            axes.plot(times, [row.p99 for row in rows], label=name, **look)
            axes.plot(times, [row.p50 for row in rows], linestyle=":", **look)
        axes.set_yscale("log")
        plain_log_ticks(axes)
        whole_seconds(axes)
        axes.set_ylabel("ms: p99, dotted p50")
        legend(axes)

    return Plot("latency_over_time", title, draw, legend=len(trials))


def rate_plot(
    comparison: Comparison, trials: Mapping[str, Trial], findings: Mapping[str, Finding]
) -> Plot:
    title = f"{findings['rps'].sentence}; here each second of a typical round"
    failing = any(trial.load.failures for trial in trials.values())

    def draw(figure: Figure) -> None:
        axes: Any = figure.subplots()
        for name, trial in trials.items():
            times = [row.t - span(trial)[0] for row in trial.load.seconds]
            look = {"color": COLOURS[name], "marker": MARKERS[name], "markersize": 5}
            requests = [row.requests for row in trial.load.seconds]
            axes.plot(times, requests, label=name, **look)
            if trial.load.failures:
                failed = [row.failures for row in trial.load.seconds]
                axes.plot(times, failed, linestyle=":", **look)
        target = comparison.plan.target_rate()
        if target and not comparison.plan.stages:
            axes.axhline(target, color="black", linestyle="--", linewidth=1, label="asked for")
        from_zero(axes)
        whole_seconds(axes)
        axes.set_ylabel("requests per second" + (" (dotted: failures)" if failing else ""))
        legend(axes)

    return Plot("requests_over_time", title, draw, legend=len(trials))


def memory_plot(trials: Mapping[str, Trial]) -> Plot:
    peaks = {name: max((s.pss or 0) for s in readings(trial)) for name, trial in trials.items()}
    most = max(peaks, key=lambda name: peaks[name])
    title = f"Memory of the server's processes: {most} comes to {mib(peaks[most]):,.0f} MiB"

    def draw(figure: Figure) -> None:
        axes: Any = figure.subplots()
        for name, trial in trials.items():
            rows = [row for row in readings(trial) if row.pss is not None]
            start = span(trial)[0]
            look = {"color": COLOURS[name], "marker": MARKERS[name], "markersize": 5}
            axes.plot([r.t - start for r in rows], [mib(r.pss) for r in rows], label=name, **look)
        mark_phases(axes, trials)
        from_zero(axes)
        whole_seconds(axes)
        axes.set_ylabel("MiB (PSS)")
        legend(axes)

    return Plot("memory_over_time", title, draw, legend=len(trials))


def span(trial: Trial) -> tuple[float, float]:
    """The seconds that are shown as measured: the window, in a search all its steps."""
    seconds = trial.load.seconds
    if not seconds:
        return trial.load.window
    return float(seconds[0].t), float(seconds[-1].t + 1)


def from_zero(axes: Any) -> None:
    """A vertical axis from zero, with room above the highest point."""
    axes.set_ylim(0, 1.08 * max(axes.dataLim.y1, 1e-9))
    axes.yaxis.set_major_formatter(in_thousands)


FEW_CONTENDERS = 4  # with more the marks of each would hide the lines
_SHOWN_BEFORE = 8.0  # seconds before the measured time


def mark_phases(axes: Any, trials: Mapping[str, Trial]) -> None:
    """The measured time, and when each contender's idle clients were complete."""
    first, last = span(next(iter(trials.values())))
    axes.axvspan(0, last - first, color="#EEEEEE", zorder=0)
    for name, trial in trials.items():
        if "idle" in trial.phases and len(trials) <= FEW_CONTENDERS:
            held = trial.phases["idle"].t - span(trial)[0]
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
                times.append((before.t + after.t) / 2 - span(trial)[0])
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
        from_zero(axes)
        whole_seconds(axes)
        axes.set_ylabel("% of a core")
        legend(axes)

    return Plot("cpu_over_time", title, draw, legend=len(trials))


def rate_points(trial: Trial, plan: Plan) -> list[tuple[float, float]]:
    """(rate asked for, p99): a point is a step of the search, or one second of staged rates."""
    if trial.search is not None:
        pairs = [(step.asked, step.p99) for step in trial.search.steps]
    else:
        start = trial.load.collected["marks"]["start"]
        pairs = [
            (plan.asked_between(row.t - start, row.t + 1 - start), row.p99)
            for row in trial.load.seconds
        ]
    return sorted((rate, p99) for rate, p99 in pairs if p99 is not None)


def knee_title(comparison: Comparison, summaries: Sequence[Summary]) -> str:
    """What each contender held, and for whom it was the generator that could not do more."""
    held = []
    for summary in summaries:
        best, more = summary.value("max_rate"), ""
        if comparison.plan.rate is not None:
            whole = [trial for trial in comparison.of(summary.contender) if trial.failed is None]
            rows = sorted(row for trial in whole for row in rate_points(trial, comparison.plan))
            fast = list(takewhile(lambda row: row[1] <= SLOWEST, rows))
            best = fast[-1][0] if fast else None
            more = " or more" if fast == rows else ""
        elif any(flag.startswith(LIMIT_FLAG) for flag in summary.flags):
            more = " or more"
        held.append(f"{summary.contender} {'none' if best is None else f'{best:,.0f}{more}'}")
    return f"requests/s asked for and held, p99 within {SLOWEST:.0f} ms: {', '.join(held)}"


def knee_plot(comparison: Comparison, trials: Mapping[str, Trial], title: str) -> Plot:
    def draw(figure: Figure) -> None:
        axes: Any = figure.subplots()
        for name in trials:
            rows = sorted(
                point
                for trial in comparison.of(name)
                if trial.failed is None
                for point in rate_points(trial, comparison.plan)
            )
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
        axes.xaxis.set_major_formatter(in_thousands)
        point = "step" if comparison.plan.rate is None else "second"
        axes.set_xlabel(f"requests per second asked for; each {point} a point")
        axes.set_ylabel("p99, ms")
        legend(axes)

    return Plot("p99_against_rate", title, draw, legend=len(trials))
