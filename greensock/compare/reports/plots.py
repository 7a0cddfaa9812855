"""The pictures, each titled with what it shows: bars of the main figures, then the rest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from greensock.compare.reports.figures import COLOURS, Plot, in_thousands
from greensock.compare.reports.plots_over_time import pictures_over_time
from greensock.compare.results.findings import Finding
from greensock.compare.results.metrics import METRICS
from greensock.compare.results.summary import Figure as Value
from greensock.compare.results.summary import Summary
from greensock.compare.trials.rounds import Comparison

_NOTHING = Value(0.0, 0.0, 0.0)  # in the place of a figure that was not measured


def bars(
    axes: Any,
    summaries: Sequence[Summary],
    metric: str,
    stacked: str | None = None,
) -> None:
    """Horizontal bars from zero, the rounds' range as a line, the value at the end."""
    rows = list(summaries)
    names = [summary.contender for summary in rows]
    figures = [summary.metrics.get(metric, _NOTHING) for summary in rows]
    values = [figure.median for figure in figures]
    places = range(len(rows))
    axes.barh(places, values, color=[COLOURS[name] for name in names], height=0.6)
    ends = list(values)
    texts = [
        METRICS[metric].show(figure.median) if figure is not _NOTHING else "not measured"
        for figure in figures
    ]
    apart = [row.is_apart(metric) and metric in row.metrics for row in rows]
    if stacked is not None:
        extra = [max(0.0, summary.value(stacked) or 0.0) for summary in rows]
        colours = [COLOURS[name] for name in names]
        axes.barh(places, extra, left=values, color=colours, height=0.6, alpha=0.4)
        ends = [value + more for value, more in zip(values, extra, strict=True)]
        texts = [
            f"{text} + {METRICS[stacked].show(more)}" if stacked in row.metrics else text
            for row, text, more in zip(rows, texts, extra, strict=True)
        ]
    texts = [f"{text} *" if marked else text for text, marked in zip(texts, apart, strict=True)]
    for place, figure in enumerate(figures):
        if figure.high > figure.low:
            axes.plot([figure.low, figure.high], [place, place], color="black", linewidth=1.4)
    longest = max([*ends, *(figure.high for figure in figures)], default=0.0)
    for place, (end, figure) in enumerate(zip(ends, figures, strict=True)):
        start = max(end, figure.high) + 0.015 * longest
        axes.text(start, place, texts[place], va="center", fontsize=9)
    axes.set_yticks(list(places), names)
    axes.invert_yaxis()
    # Room for the values: they stand to the right of the longest bar.
    axes.set_xlim(0, (longest or 1.0) * (1.5 if stacked else 1.25))
    axes.grid(visible=False, axis="y")
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(in_thousands)
    note = " (*: without idle clients beside)" if any(apart) else ""
    axes.set_xlabel(METRICS[metric].unit + note)


def pictures(
    comparison: Comparison, summaries: Sequence[Summary], findings: Mapping[str, Finding]
) -> Iterator[Plot]:
    """Every picture for which there is something to show."""
    yield overview(summaries, findings)
    tall = (7.2, 1.5 + 0.42 * len(summaries))
    if any("kib_per_idle" in summary.metrics for summary in summaries):
        title = findings["kib_per_idle"].sentence

        def draw_memory(figure: Figure) -> None:
            axes: Any = figure.subplots()
            bars(axes, summaries, "kib_per_idle", "kernel_kib_per_idle")
            axes.set_xlabel("KiB per idle client: PSS, and (pale) kernel stacks and page tables")

        yield Plot("memory_per_idle_client", title, draw_memory, tall)
    if any("cpu_s_per_1000" in summary.metrics for summary in summaries):
        cost = findings["cpu_s_per_1000"].sentence

        def draw_cost(figure: Figure) -> None:
            axes: Any = figure.subplots()
            bars(axes, summaries, "cpu_s_per_1000")
            axes.set_xlabel("CPU seconds of the server per 1,000 requests; line: the rounds' range")

        yield Plot("cpu_per_request", cost, draw_cost, tall)
    yield from pictures_over_time(comparison, summaries, findings)


def overview(summaries: Sequence[Summary], findings: Mapping[str, Finding]) -> Plot:
    """The table's main figures in one picture."""
    chosen = ("kib_per_idle", "max_rate", "cpu_s_per_1000", "p99", "rps", "p50")
    known = [metric for metric in chosen if any(metric in summary.metrics for summary in summaries)]
    shown = known[:4]

    def draw(figure: Figure) -> None:
        grid = figure.subplots(max(1, (len(shown) + 1) // 2), 2, squeeze=False)
        for axes, metric in zip(grid.flat, shown, strict=False):
            verdict = findings[metric].verdict
            # On a line of its own: beside the longest label there is no room for it.
            note = f"\n({verdict})" if verdict in ("no difference", "one round") else ""
            bars(axes, summaries, metric)
            axes.set_title(METRICS[metric].label + note)
        for axes in grid.flat[len(shown) :]:
            axes.set_axis_off()

    rows = max(1, (len(shown) + 1) // 2)
    spoken = [findings[metric] for metric in shown if findings[metric].best]
    standing_out = [finding for finding in spoken if finding.verdict != "no difference"]
    title = (standing_out or spoken or [findings[shown[0]]])[0].sentence if shown else ""
    size = (9.6, rows * (1.5 + 0.36 * len(summaries)))
    return Plot("overview", title or "Nothing was measured", draw, size)
