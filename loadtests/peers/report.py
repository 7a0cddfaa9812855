"""The tables: medians per measure, and what greensock must show against what it showed."""

from rich.console import Console
from rich.table import Table

from .catalogue import BY_NAME
from .measures import BY_NAME as MEASURES
from .measures import Column, Measure
from .requirements import Verdict
from .results import Results

MARKS = {
    "*": "the load generator, not the server, was the limit in some round",
    "!": "other programs used the CPUs in some round",
}
PER_CPU_NOTE = (
    "per CPU second: rates over the server's CPU time, where a rate itself has the mark * or !"
)


def print_report(results: Results, verdicts: list[Verdict], console: Console) -> None:
    """Print the head, one table per measure and section, and the verdicts."""
    head = results.head
    versions = ", ".join(f"{name} {version}" for name, version in head["versions"].items())
    console.print(f"{head['date']}  {head['machine']}, {head['system']}; {versions}")
    console.print(f"{head['command']}; server on core {head['server_core']}, load on "
                  f"{head['load_core']}; medians of the rounds")  # fmt: skip
    for name in MEASURES:
        if name in results.samples or name in results.reasons:
            for suffix, heading in MEASURES[name].sections:
                _print_measure(results, MEASURES[name], suffix, heading, console)
    if verdicts:
        console.print(_verdict_table(verdicts))
        if any(verdict.per_cpu for verdict in verdicts):
            console.print(PER_CPU_NOTE)
        reached = sum(verdict.reached is True for verdict in verdicts)
        missed = sum(verdict.reached is False for verdict in verdicts)
        unknown = len(verdicts) - reached - missed
        console.print(f"{reached} reached, {missed} not reached, {unknown} not measured")
    console.print(f"took {sum(results.seconds.values()) / 60:.1f} minutes")


def _print_measure(
    results: Results, measure: Measure, suffix: str, heading: str, console: Console
) -> None:
    title = f"{measure.title}: {heading}" if heading else measure.title
    table = Table(title=f"{measure.name}: {title}", title_justify="left", box=None)
    table.add_column("contender")
    columns = [
        column
        for column in measure.columns
        if any(
            results.values(measure.name, contender, column.figure + suffix)
            for contender in results.samples.get(measure.name, {})
        )
    ]
    for column in columns:
        table.add_column(column.heading, justify="right")
    seen = ""
    for name in BY_NAME:
        if name in results.samples.get(measure.name, {}):
            marks = "*" if results.saturated(measure.name, name, suffix) else ""
            marks += "!" if results.disturbed(measure.name, name, suffix) else ""
            seen += marks
            cells = [_cell(results, measure.name, name, column, suffix) for column in columns]
            table.add_row(name, *cells, marks)
    console.print()
    console.print(table)
    for mark, meaning in MARKS.items():
        if mark in seen:
            console.print(f"{mark} {meaning}")
    for name, reason in results.reasons.get(measure.name, {}).items():
        console.print(f"{name}: not measured: {reason}", markup=False)


def _cell(results: Results, measure: str, contender: str, column: Column, suffix: str) -> str:
    value = results.median(measure, contender, column.figure + suffix)
    return "" if value is None else f"{value:,.{column.decimals}f}"


def _verdict_table(verdicts: list[Verdict]) -> Table:
    table = Table(title="\nWhat it must show", title_justify="left", box=None)
    table.add_column("measure")
    table.add_column("figure")
    table.add_column("contender")
    table.add_column("required")
    table.add_column("measured", justify="right")
    table.add_column("")
    words = {True: "reached", False: "NOT REACHED", None: "not measured"}
    for verdict in verdicts:
        requirement = verdict.requirement
        value = "" if verdict.value is None else _significant(verdict.value)
        table.add_row(
            requirement.measure,
            requirement.figure.replace(
                "per_second", "per CPU second" if verdict.per_cpu else "per second"
            ),
            requirement.contender,
            requirement.describe(),
            value,
            words[verdict.reached],
        )
    return table


def _significant(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3f}".rstrip("0").rstrip(".")
