"""What came of a case."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any


class Verdict(Enum):
    PASS = "pass"
    FAIL = "fail"
    NOT_APPLICABLE = "n/a"


class NotApplicable(Exception):
    """A case cannot be tried on this server, or from here; the text says why."""


@dataclass(slots=True)
class Finding:
    """The verdict on one case, and what it rests on.

    Attributes:
        why: one line: what failed, or what was done and seen, or why it does not apply.
        faults: every single thing that failed.
        judged: what was looked at: others, cpu, memory, holdings, log.
        figures: what was measured, by name; times in seconds, memory in bytes.
    """

    case: str
    does: str
    verdict: Verdict = Verdict.PASS
    why: str = ""
    faults: list[str] = field(default_factory=list)
    judged: list[str] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return {
            "case": self.case,
            "does": self.does,
            "verdict": self.verdict.value,
            "why": self.why,
            "faults": self.faults,
            "judged": self.judged,
            "figures": self.figures,
        }
