"""Limits for use in CI: `p99<50`, `greenlet:kib_per_idle<2`. Crossed ones mean exit status 99."""

from __future__ import annotations

import operator
import re
from collections.abc import Sequence
from dataclasses import dataclass

from greensock.arguments.usage import UsageError
from greensock.compare.results.metrics import METRICS
from greensock.compare.results.summary import Summary

_OPERATORS = {"<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt}
_FORM = re.compile(
    r"(?:(?P<who>[\w-]+):)?(?P<metric>\w+)\s*(?P<sign><=|>=|<|>)\s*(?P<limit>[\d.]+)"
)


@dataclass(frozen=True)
class Threshold:
    """One limit; `contender` None means that every contender must keep it."""

    expression: str
    contender: str | None
    metric: str
    sign: str
    limit: float


@dataclass(frozen=True)
class Verdict:
    """Whether one contender kept one limit. `value` None: not measured, which is not kept."""

    expression: str
    contender: str
    value: float | None
    ok: bool


def parse_threshold(text: str, contenders: Sequence[str]) -> Threshold:
    """Read one limit; UsageError when it names what is not measured or not compared."""
    match = _FORM.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"--threshold must look like p99<50 or greenlet:p99<50, not {text!r}")
    if match["metric"] not in METRICS:
        known = ", ".join(METRICS)
        raise UsageError(f"--threshold knows {known}, not {match['metric']!r}")
    if match["who"] is not None and match["who"] not in contenders:
        raise UsageError(f"--threshold {text}: {match['who']} is not among {', '.join(contenders)}")
    try:
        limit = float(match["limit"])
    except ValueError:
        raise UsageError(f"--threshold {text}: {match['limit']} is not a number") from None
    return Threshold(text, match["who"], match["metric"], match["sign"], limit)


def check_thresholds(
    thresholds: Sequence[Threshold], summaries: Sequence[Summary]
) -> list[Verdict]:
    """Every limit against every contender it is meant for, by the median of the rounds."""
    verdicts = []
    for threshold in thresholds:
        for summary in summaries:
            if threshold.contender not in (None, summary.contender):
                continue
            value = summary.value(threshold.metric)
            ok = value is not None and _OPERATORS[threshold.sign](value, threshold.limit)
            verdicts.append(Verdict(threshold.expression, summary.contender, value, bool(ok)))
    return verdicts
