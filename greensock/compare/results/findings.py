"""What may be concluded from the figures, and what may not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from greensock.compare.planning.contenders import Contender
from greensock.compare.results.metrics import METRICS, Metric
from greensock.compare.results.summary import RATE_FLAG, Figure, Summary

# On one shared machine two runs of the same thing differ by this much.
NOTEWORTHY = 0.10

LISTED = 4  # contenders named in a sentence


@dataclass(frozen=True)
class Finding:
    """The verdict on one metric. `best` holds those that nothing sets apart from the best one.

    It is empty when no verdict is possible, and holds everybody when there is no difference.
    """

    metric: str
    best: tuple[str, ...]
    verdict: str
    sentence: str


def differ(one: Figure, other: Figure) -> bool:
    """True when two medians are more than a tenth apart and the rounds' ranges do not touch.

    And when they are further apart than the figures are fine.
    """
    smaller, larger = sorted((one.median, other.median))
    apart = one.high < other.low or other.high < one.low
    least = max(NOTEWORTHY * abs(larger), one.resolution, other.resolution)
    return apart and larger - smaller > least


# Flags that mean: what was timed was partly the machine or the generator. A request costs more CPU,
# too, where other programs have been through the caches.
_DOUBTFUL = ("machine disturbed", "generator late", "generator saturated")
_TIMES = ("p50", "p95", "p99", "p999")


def doubt(metric: Metric, summaries: Sequence[Summary]) -> str:
    """What to add to a sentence about times that were taken under such flags."""
    flags = [flag for summary in summaries for flag in summary.flags]
    if metric.name in (*_TIMES, "cpu_s_per_1000") and any(
        flag.startswith(_DOUBTFUL) for flag in flags
    ):
        return " (doubtful, see the flags)"
    return ""


def comparable(metric: Metric, summary: Summary, all_apart: bool = False) -> bool:
    """Times at different rates tell nothing: who missed the rate was asked for less.

    Nor do figures of whoever had no idle clients, where others had.
    """
    if summary.is_apart(metric.name) and not all_apart:
        return False
    if metric.name not in _TIMES:
        return True
    return not any(flag.startswith(RATE_FLAG) for flag in summary.flags)


def judge(metric: Metric, summaries: Sequence[Summary]) -> Finding:
    """Who is best in one metric, if anybody is."""
    all_apart = all(row.apart for row in summaries if row.failed is None)
    known = [
        (row.contender, row.metrics[metric.name])
        for row in summaries
        if metric.name in row.metrics and row.failed is None and comparable(metric, row, all_apart)
    ]
    if metric.better is None:
        return Finding(metric.name, (), "", metric.label)
    if len(known) < 2:
        return Finding(metric.name, (), "", f"{metric.label}: fewer than two to compare")
    rounds = min(row.rounds for row in summaries if row.failed is None)
    known.sort(key=lambda pair: pair[1].median, reverse=metric.better == "high")
    name, best = known[0]
    if rounds < 2:
        other, last = known[-1]
        sentence = f"{metric.label}: {metric.show(best.median)} with {called(name)} to "
        sentence += f"{metric.show(last.median)} with {called(other)} (one round, so no verdict)"
        return Finding(metric.name, (), "one round", sentence)
    equals = tuple(other for other, figure in known if not differ(best, figure))
    rest = [(other, figure) for other, figure in known if other not in equals]
    if not rest:
        sentence = f"{metric.label}: no difference"
        return Finding(metric.name, equals, "no difference", sentence)
    second, figure = rest[0]
    factor = times(best.median, figure.median)
    if len(equals) == 1:
        sentence = f"{called(name)} {metric.claim}: {metric.show(best.median)}"
        sentence += f" against {metric.show(figure.median)} {metric.unit} with {called(second)}"
        sentence += factor
        sentence += doubt(metric, summaries)
        return Finding(metric.name, equals, name, sentence)
    merit = metric.claim.partition(" the ")[2]  # of "needs the least memory"
    sentence = f"{merit}: {listed(equals)} (no difference), {metric.show(best.median)} "
    sentence += f"{metric.unit}; next is {called(second)}, {metric.show(figure.median)}{factor}"
    sentence += doubt(metric, summaries)
    return Finding(metric.name, equals, " = ".join(equals), sentence)


def times(best: float, other: float) -> str:
    """`, 3.2 times as much` where a ratio has a meaning."""
    if best <= 0 or other <= 0:
        return ""
    ratio = max(best, other) / min(best, other)
    return f", a factor of {ratio:.2g}" if ratio < 10 else f", a factor of {ratio:,.0f}"


def listed(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`; of many only some: `a, b and 7 others`."""
    words = [called(name) for name in names]
    if len(words) > LISTED:
        words = [*words[: LISTED - 2], f"{len(words) - LISTED + 2} others"]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def called(name: str) -> str:
    return Contender(name).called


def judge_all(summaries: Sequence[Summary]) -> dict[str, Finding]:
    """The verdict on every metric, by its name."""
    return {name: judge(metric, summaries) for name, metric in METRICS.items()}
