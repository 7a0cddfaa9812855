"""The whole command once its options are understood: run, conclude, write, say."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from errno import EISDIR
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from greensock.arguments.usage import UsageError
from greensock.compare.planning.plan import Output, Plan
from greensock.compare.reports.progress import in_words, open_display
from greensock.compare.reports.report import Picture, write_report
from greensock.compare.reports.table import print_changes, print_results, say, table_width
from greensock.compare.results.against import changes, other_experiment, other_place, read_result
from greensock.compare.results.findings import Finding, judge_all
from greensock.compare.results.result import as_text, build_result, write_json
from greensock.compare.results.summary import Summary, summarise
from greensock.compare.results.thresholds import check_thresholds, parse_threshold
from greensock.compare.trials.rounds import Comparison, run_rounds
from greensock.processes.interrupts import one_interrupt

DONE, TRIAL_FAILED, THRESHOLD_CROSSED, INTERRUPTED = 0, 1, 99, 130


def run(plan: Plan, output: Output) -> int:
    """Run the comparison, print and write its results; the command's exit status.

    0 done; 1 a contender failed; 99 a threshold was crossed (or, with --fail-on-flags, a flag was
    raised or something got worse); 130 interrupted, what was measured so far is still written.
    """
    check_places(output)
    earlier = read_result(output.against) if output.against is not None else None
    thresholds = [parse_threshold(text, plan.contenders) for text in plan.thresholds]
    talk = Console(stderr=True)
    target = f"{plan.target}, scenario {plan.scenario}"
    say(talk, f"Comparing {', '.join(plan.contenders)}: {target}.")
    say(talk, f"This will take about {in_words(plan.estimate())}.")
    for note in plan.notes():
        say(talk, f"Note: {note}.")
    logs = output.folder / "logs" if output.keep_logs and output.folder is not None else None
    with one_interrupt():
        with open_display(talk, plan) as display:
            comparison = run_rounds(plan, display, logs.resolve() if logs else None)
        summaries = summarise(comparison)
        findings = judge_all(summaries)
        verdicts = check_thresholds(thresholds, summaries)
        result = build_result(comparison, summaries, findings, verdicts)
        changed = [] if earlier is None else changes(earlier, summaries)
        if earlier is not None:
            result["against"] = [asdict(change) for change in changed]
        if comparison.trials:
            # With --json - the data has stdout for itself.
            width = None if sys.stdout.isatty() else table_width(len(summaries))
            page = talk if output.json_file == "-" else Console(width=width)
            page.print()
            print_results(page, summaries, findings, plan)
            if earlier is not None:
                load = other_experiment(earlier, result["plan"])
                print_changes(page, changed, load, other_place(earlier, result))
        for verdict in verdicts:
            shown = "not measured" if verdict.value is None else f"{verdict.value:.4g}"
            mark = "kept" if verdict.ok else "CROSSED"
            say(talk, f"threshold {verdict.expression}: {mark} by {verdict.contender} ({shown})")
        if not write_outputs(result, partial(draw, comparison, summaries, findings), output, talk):
            comparison.interrupted = True
    if comparison.interrupted:
        whole = sum(trial.failed is None for trial in comparison.trials)
        say(talk, f"Interrupted after {whole} whole {'trial' if whole == 1 else 'trials'}.")
        return INTERRUPTED
    if any(summary.failed is not None for summary in summaries):
        return TRIAL_FAILED
    worse = any(change.verdict == "worse" for change in changed)
    flagged = output.fail_on_flags and (worse or any(summary.flags for summary in summaries))
    if flagged or not all(verdict.ok for verdict in verdicts):
        return THRESHOLD_CROSSED
    return DONE


def check_places(output: Output) -> None:
    """See whether the results can be written, before minutes are spent on them.

    Raises:
        UsageError: they cannot.
    """
    files = [output.html_file, output.json_file if output.json_file != "-" else None]
    if output.folder is not None:
        files.append(str(output.folder / "result.json"))
    for name in filter(None, files):
        path = Path(name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir():
                raise IsADirectoryError(EISDIR, os.strerror(EISDIR), name)
            # Written beside it first, and then put in its place.
            with tempfile.TemporaryFile(dir=path.parent):
                pass
        except OSError as error:
            raise UsageError(f"cannot write {name}: {error.strerror}") from None


def write_outputs(
    result: dict[str, Any],
    draw_pictures: Callable[[], list[Picture]],
    output: Output,
    talk: Console,
) -> bool:
    """result.json, the pictures, and the page that holds both; False when interrupted.

    The data first: drawing takes seconds, in which the user may lose patience.
    """
    if output.json_file == "-":
        sys.stdout.write(as_text(result))
    elif output.json_file is not None:
        write_json(result, Path(output.json_file))
    pages = [] if output.html_file is None else [Path(output.html_file)]
    if output.folder is not None:
        write_json(result, output.folder / "result.json")
        pages.append(output.folder / "report.html")
    pictures: list[Picture] = []
    try:
        if output.plots and pages and result["trials"]:
            pictures = draw_pictures()
        for page in pages:
            write_report(result, pictures, page)
        if output.folder is not None:
            for picture in pictures:
                picture.save(output.folder)
    except KeyboardInterrupt:
        for page in pages:
            write_report(result, [], page)
        return False
    if output.folder is not None:
        names = "report.html, result.json" + (" and the pictures" if pictures else "")
        say(talk, f"{names} are in {output.folder}/.")
    return True


def draw(
    comparison: Comparison, summaries: Sequence[Summary], findings: Mapping[str, Finding]
) -> list[Picture]:
    """The pictures. matplotlib takes a second to import and is not needed with --no-plots."""
    from greensock.compare.reports import plots

    return list(plots.pictures(comparison, summaries, findings))
