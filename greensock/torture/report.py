"""The findings, for people and for programs."""

from __future__ import annotations

import dataclasses
import datetime
import json
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from greensock.printable import printable
from greensock.torture.case import Case
from greensock.torture.settings import Settings
from greensock.torture.verdicts import Finding, Verdict


def table(findings: Sequence[Finding], width: int) -> str:
    """A row for each case, and a last line that sums up.

    Args:
        width: columns of the terminal; the reasons are wrapped to it.
    """
    longest = max((len(finding.case) for finding in findings), default=4)
    lines = [f"{'case':{longest}}  verdict  p99 ms  lost  why"]
    indent = longest + len("  verdict  p99 ms  lost  ")
    for finding in findings:
        head = f"{finding.case:{longest}}  {finding.verdict.value:7}  {_beside(finding)}  "
        why = textwrap.wrap(printable(finding.why, keep="\n"), max(width - indent, 30)) or [""]
        lines.append(head + why[0])
        lines += [" " * indent + more for more in why[1:]]
    return "\n".join([*lines, summary(findings)])


def _beside(finding: Finding) -> str:
    figures = finding.figures
    if "p99 beside" not in figures:
        return f"{'-':>6}  {'-':>4}"
    return f"{figures['p99 beside'] * 1000:6.1f}  {figures['lost beside']:4.0f}"


def summary(findings: Sequence[Finding]) -> str:
    """How many passed, failed, and did not apply."""
    count = {
        verdict: sum(finding.verdict is verdict for finding in findings) for verdict in Verdict
    }
    return (
        f"{count[Verdict.PASS]} passed, {count[Verdict.FAIL]} failed, "
        f"{count[Verdict.NOT_APPLICABLE]} not applicable"
    )


def listing(cases: Sequence[Case]) -> str:
    """Every case with what it does and what passing means."""
    return "\n\n".join(
        f"{case.name} ({case.family})\n{textwrap.indent(textwrap.dedent(_body(case)), '    ')}"
        for case in cases
    )


def _body(case: Case) -> str:
    first, _, rest = case.meaning.partition("\n")
    return f"{first}\n{textwrap.dedent(rest)}".strip()


def as_json(
    findings: Sequence[Finding], about: dict[str, Any], settings: Settings, interrupted: bool
) -> dict[str, Any]:
    """Everything that is known, to be kept or compared."""
    return {
        "tool": "greensock torture",
        **about,
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "interrupted": interrupted,
        "settings": dataclasses.asdict(settings),
        "findings": [finding.as_json() for finding in findings],
    }


def write_json(path: Path, document: dict[str, Any]) -> None:
    """Write the document to a file.

    Raises:
        OSError: it cannot be written.
    """
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
