"""From a list of latencies to percentiles and a histogram that is small enough to keep."""

from collections import Counter
from typing import Any

SIGNIFICANT_DIGITS = 2  # of the kept histogram; percentiles are taken before rounding


def summarise(nanoseconds: list[int]) -> dict[str, Any]:
    """Percentiles and maximum in microseconds; ``histogram`` is pairs of microseconds and count."""
    if not nanoseconds:
        return {"p50_us": None, "p99_us": None, "p999_us": None, "max_us": None, "histogram": []}
    ordered = sorted(nanoseconds)
    histogram: Counter[int] = Counter()
    for microseconds, count in Counter(ns // 1000 for ns in ordered).items():
        histogram[_rounded(microseconds)] += count
    return {
        "p50_us": _percentile(ordered, 0.5),
        "p99_us": _percentile(ordered, 0.99),
        "p999_us": _percentile(ordered, 0.999),
        "max_us": ordered[-1] / 1000,
        "histogram": sorted(histogram.items()),
    }


def _percentile(ordered: list[int], share: float) -> float:
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] / 1000


def _rounded(microseconds: int) -> int:
    digits = len(str(microseconds)) - SIGNIFICANT_DIGITS
    return microseconds if digits <= 0 else microseconds // 10**digits * 10**digits
