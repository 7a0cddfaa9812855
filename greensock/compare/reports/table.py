"""The table at the end: metrics as rows, contenders as columns, so that it fits 80 columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from greensock.compare.planning.plan import Plan
from greensock.compare.results.against import Change
from greensock.compare.results.findings import Finding, called
from greensock.compare.results.metrics import METRICS
from greensock.compare.results.summary import LIMIT_FLAG, Summary
from greensock.printable import printable

ROWS = (
    "max_rate",
    "rps",
    "p50",
    "p95",
    "p99",
    "max",
    "failures",
    "cpu_s_per_1000",
    "server_cpu",
    "mib_base",
    "idle_held",
    "kib_per_idle",
    "kernel_kib_per_idle",
    "processes",
    "threads",
    "greenlets",
    "idle_cpu",
    "generator_cpu",
    "other_cpu",
)
WITH_RANGE = ("max_rate", "rps", "p50", "p95", "p99", "kib_per_idle", "cpu_s_per_1000")
CONCLUSIONS = ("max_rate", "kib_per_idle", "cpu_s_per_1000", "p50", "p99", "rps")
#: Below a table with such figures.
APART = (
    "* measured without idle clients beside, since it did not serve them: not to be compared with "
    "the others."
)
COLUMNS = 5  # contenders side by side; more of them continue in a second block


def label(metric: str, plan: Plan) -> str:
    if metric == "rps" and plan.target_rate():
        return f"requests/s (asked {plan.target_rate():,.0f})"
    if metric == "idle_held":
        return f"idle clients held of {plan.idle:,}"
    return METRICS[metric].label


def cell(metric: str, summary: Summary, finding: Finding | None) -> Text:
    """The median, the rounds' range below it, bold when it is the best."""
    figure = summary.metrics.get(metric)
    if figure is None:
        return Text("-", style="dim")
    show = METRICS[metric].show
    if summary.is_apart(metric):
        return Text(f"{show(figure.median)} *", style="dim")
    alone = finding is not None and summary.contender in finding.best and not everybody(finding)
    text = Text(show(figure.median), style="bold green" if alone else "")
    if metric == "max_rate" and any(flag.startswith(LIMIT_FLAG) for flag in summary.flags):
        text = Text("at least ") + text  # locust could not ask for more
    if metric in WITH_RANGE and summary.rounds > 1:
        low, high = show(figure.low), show(figure.high)
        if low != high:
            text.append(f"\n{low}-{high}", style="not bold dim")
    return text


def everybody(finding: Finding) -> bool:
    return finding.verdict == "no difference"


def build_table(summaries: Sequence[Summary], findings: Mapping[str, Finding], plan: Plan) -> Table:
    table = Table(show_edge=False, pad_edge=False, header_style="bold")
    table.add_column("", min_width=24)
    for summary in summaries:
        table.add_column(summary.contender, justify="right")
    judged = any(finding.best for finding in findings.values())
    if judged:
        table.add_column("no difference", justify="center")
    for metric in ROWS:
        if not any(metric in summary.metrics for summary in summaries):
            continue
        finding = findings.get(metric)
        cells = [cell(metric, summary, finding) for summary in summaries]
        if judged:
            cells.append(Text("=" if finding is not None and everybody(finding) else ""))
        table.add_row(label(metric, plan), *cells)
    if any(summary.flags for summary in summaries):
        raised = [Text("\n".join(flag_kinds(row.flags)), style="yellow") for row in summaries]
        table.add_row("flags (see below)", *raised)
    return table


def flag_kinds(flags: Sequence[str]) -> list[str]:
    """The flags without what happened in which round."""
    return [flag.partition(" (")[0] for flag in flags]


def print_results(
    console: Console, summaries: Sequence[Summary], findings: Mapping[str, Finding], plan: Plan
) -> None:
    """The table, what may be concluded, what could not be done, and what casts doubt."""
    measured = [summary for summary in summaries if summary.metrics]
    for first in range(0, len(measured), COLUMNS):
        console.print(build_table(measured[first : first + COLUMNS], findings, plan))
        console.print()
    if measured:
        rounds = f"Medians of {plan.rounds} rounds, ranges below. " if plan.rounds > 1 else ""
        say(
            console,
            f"{rounds}Memory is the PSS of all processes of the server; kernel: their stacks and "
            "page tables. Processes and threads: the most seen.",
        )
    if any(summary.apart for summary in measured):
        say(console, APART)
    for note in plan.notes():
        say(console, f"Note: {note}.")
    for metric in CONCLUSIONS:
        finding = findings[metric]
        if finding.best:
            say(console, f"  {finding.sentence}")
    for summary in summaries:
        if summary.failed is not None:
            say(console, f"{called(summary.contender)} failed: {summary.failed}", "red")
        for note in summary.notes:
            say(console, f"{called(summary.contender)}: {note}")
    for summary in summaries:
        if summary.flags:
            flags = ", ".join(summary.flags)
            say(console, f"Flags of {called(summary.contender)}: {flags}", "yellow")


def print_changes(
    console: Console, changes: Sequence[Change], load: Sequence[str], place: Sequence[str]
) -> None:
    """What differs from an earlier run; what does not is only counted.

    `load` and `place` name in what that run's load, versions and machine were others.
    """
    if load:
        say(console, f"The earlier run had another load ({', '.join(load)}).", "yellow")
    if place:
        say(console, f"The earlier run was made elsewhere ({', '.join(place)}).", "yellow")
    table = Table(title="Since the earlier run", title_justify="left", show_edge=False)
    for heading in ("", "", "before", "now", "change", ""):
        table.add_column(heading, justify="right" if heading in ("before", "now") else "left")
    for change in changes:
        if change.verdict == "no difference":
            continue
        show = METRICS[change.metric].show
        then, now = change.before.median, change.now.median
        share = f"{100 * (now - then) / then:+.0f} %" if then else ""
        style = {"better": "green", "worse": "red"}.get(change.verdict, "dim")
        label = METRICS[change.metric].label
        cells = (change.contender, label, show(then), show(now), share, change.verdict)
        table.add_row(*cells, style=style)
    if table.row_count:
        console.print(table)
    same = sum(change.verdict == "no difference" for change in changes)
    say(console, f"No difference in {same} of {len(changes)} figures.")


def say(console: Console, text: str, style: str = "") -> None:
    console.print(Text(printable(text), style=style), highlight=False, soft_wrap=True)


def table_width(columns: int) -> int:
    """Columns of text that the table needs where the console's width is not known."""
    return 46 + 20 * min(columns, COLUMNS)
