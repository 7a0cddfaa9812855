"""Counts of durations with three significant digits, down to a microsecond. Pure.

Locust's own buckets are whole milliseconds below 100 ms, in which every answer on a loopback is 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import ceil


def bucket_microseconds(microseconds: int) -> int:
    """The value that stands for a duration: itself below 1,000, else its first three digits.

    Rounded to the nearest, so it is off by at most 0.5 %; a day's range has about 6,000 values.
    """
    if microseconds < 1000:
        return max(microseconds, 0)
    unit = 10
    while microseconds >= 1000 * unit:
        unit *= 10
    return (microseconds + unit // 2) // unit * unit


def bucket_milliseconds(milliseconds: float) -> float:
    """The same for a duration in ms."""
    return bucket_microseconds(round(milliseconds * 1000)) / 1000


class Histogram:
    """How many durations fell into each bucket.

    Durations go in and come out in milliseconds, as locust reports them.
    """

    __slots__ = ("counts",)

    def __init__(self, pairs: Iterable[Sequence[float]] = ()) -> None:
        #: microseconds of a bucket -> number of durations
        self.counts: dict[int, int] = {}
        self.merge_pairs(pairs)

    def add(self, milliseconds: float) -> None:
        bucket = bucket_microseconds(round(milliseconds * 1000))
        self.counts[bucket] = self.counts.get(bucket, 0) + 1

    def merge(self, other: Histogram) -> None:
        for bucket, count in other.counts.items():
            self.counts[bucket] = self.counts.get(bucket, 0) + count

    def merge_pairs(self, pairs: Iterable[Sequence[float]]) -> None:
        """Add what `pairs` of another histogram returned."""
        for milliseconds, count in pairs:
            bucket = bucket_microseconds(round(milliseconds * 1000))
            self.counts[bucket] = self.counts.get(bucket, 0) + int(count)

    @property
    def count(self) -> int:
        return sum(self.counts.values())

    def quantile(self, fraction: float) -> float:
        """The smallest duration in ms that `fraction` (0 to 1) of all do not exceed.

        0.0 for an empty histogram; fraction 1 gives the largest.
        """
        if not self.counts:
            return 0.0
        # ceil of a product such as 0.95 * 20 = 19.000000000000004 would ask for one too many.
        wanted = max(1, ceil(fraction * self.count - 1e-9))
        seen = 0
        for bucket in sorted(self.counts):
            seen += self.counts[bucket]
            if seen >= wanted:
                break
        return bucket / 1000

    def pairs(self) -> list[list[float]]:
        """[[milliseconds, count], ...] in rising order, for JSON and for msgpack."""
        return [[bucket / 1000, self.counts[bucket]] for bucket in sorted(self.counts)]
