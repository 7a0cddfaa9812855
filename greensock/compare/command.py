"""The whole command once its options are understood: run, conclude, write, say."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console

from greensock.compare.against import Change, changes, other_experiment, read_result
from greensock.compare.findings import Finding, judge_all
from greensock.compare.plan import Output, Plan
from greensock.compare.progress import in_words, open_display
from greensock.compare.report import Picture, write_report
from greensock.compare.result import build_result, write_json
from greensock.compare.rounds import Comparison, run_rounds
from greensock.compare.summary import Summary, summarise
from greensock.compare.table import print_changes, print_results, say, table_width
from greensock.compare.thresholds import check_thresholds, parse_threshold

DONE, TRIAL_FAILED, THRESHOLD_CROSSED, INTERRUPTED = 0, 1, 99, 130
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def one_interrupt() -> Iterator[None]:
    """The first Ctrl-C, SIGTERM or SIGHUP raises KeyboardInterrupt; further ones are ignored.

    Ending the children takes a few seconds, and a second Ctrl-C would leave them behind.
    """

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        for number in _ENDING:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {number: signal.getsignal(number) for number in _ENDING}
    for number in _ENDING:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run(plan: Plan, output: Output) -> int:
    """Run the comparison, print and write its results; the command's exit status.

    0 done; 1 a contender failed; 99 a threshold was crossed (or, with --fail-on-flags, a flag was
    raised or something got worse); 130 interrupted, what was measured so far is still written.
    """
    earlier = read_result(output.against) if output.against is not None else None
    thresholds = [parse_threshold(text, plan.contenders) for text in plan.thresholds]
    talk = Console(stderr=True)
    target = f"{plan.target}, scenario {plan.scenario}"
    say(talk, f"Comparing {', '.join(plan.contenders)}: {target}.")
    say(talk, f"This will take about {in_words(plan.estimate())}.")
    logs = output.folder / "logs" if output.keep_logs and output.folder is not None else None
    with one_interrupt(), open_display(talk, plan) as display:
        comparison = run_rounds(plan, display, logs.resolve() if logs else None)
    summaries = summarise(comparison)
    findings = judge_all(summaries)
    verdicts = check_thresholds(thresholds, summaries)
    result = build_result(comparison, summaries, findings, verdicts)
    pictures: list[Picture] = []
    changed: list[Change] = []
    if comparison.trials:
        # With --json - the data has stdout for itself.
        width = None if sys.stdout.isatty() else table_width(len(summaries))
        page = talk if output.json_file == "-" else Console(width=width)
        page.print()
        print_results(page, summaries, findings, plan)
        if earlier is not None:
            changed = changes(earlier, summaries)
            print_changes(page, changed, other_experiment(earlier, result["plan"]))
            result["against"] = [asdict(change) for change in changed]
        if output.plots and (output.folder is not None or output.html_file is not None):
            pictures = draw(comparison, summaries, findings)
    for verdict in verdicts:
        shown = "not measured" if verdict.value is None else f"{verdict.value:.4g}"
        mark = "kept" if verdict.ok else "CROSSED"
        say(talk, f"threshold {verdict.expression}: {mark} by {verdict.contender} ({shown})")
    write_outputs(result, pictures, output, talk)
    if comparison.interrupted:
        say(talk, f"Interrupted after {len(comparison.trials)} trials.")
        return INTERRUPTED
    if any(summary.failed is not None for summary in summaries):
        return TRIAL_FAILED
    worse = any(change.verdict == "worse" for change in changed)
    flagged = output.fail_on_flags and (worse or any(summary.flags for summary in summaries))
    if flagged or not all(verdict.ok for verdict in verdicts):
        return THRESHOLD_CROSSED
    return DONE


def write_outputs(
    result: dict[str, Any], pictures: Sequence[Picture], output: Output, talk: Console
) -> None:
    """result.json, the pictures, and the page that holds both."""
    if output.json_file == "-":
        sys.stdout.write(json.dumps(result, indent=1) + "\n")
    elif output.json_file is not None:
        write_json(result, Path(output.json_file))
    if output.html_file is not None:
        write_report(result, pictures, Path(output.html_file))
    if output.folder is None:
        return
    write_json(result, output.folder / "result.json")
    write_report(result, pictures, output.folder / "report.html")
    for picture in pictures:
        picture.save(output.folder)
    names = "report.html, result.json" + (" and the pictures" if pictures else "")
    say(talk, f"{names} are in {output.folder}/.")


def draw(
    comparison: Comparison, summaries: Sequence[Summary], findings: Mapping[str, Finding]
) -> list[Picture]:
    """The pictures. matplotlib takes a second to import and is not needed with --no-plots."""
    from greensock.compare import plots

    return list(plots.pictures(comparison, summaries, findings))
