from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from greensock.loadtest.histogram import Histogram, bucket_microseconds


@given(st.integers(0, 10**11))
def test_bucket_is_within_half_a_percent_and_stands_for_itself(microseconds: int) -> None:
    bucket = bucket_microseconds(microseconds)
    assert abs(bucket - microseconds) <= microseconds * 0.005
    assert bucket_microseconds(bucket) == bucket
    if microseconds < 1000:
        assert bucket == microseconds


def test_few_buckets_cover_a_day() -> None:
    exponents = [1.001**step for step in range(25_200)]
    assert exponents[-1] > 86_400_000_000
    assert len({bucket_microseconds(int(value)) for value in exponents}) < 9000


def test_quantiles_of_a_known_set() -> None:
    histogram = Histogram()
    for milliseconds in range(1, 101):
        histogram.add(milliseconds)
    assert [histogram.quantile(q) for q in (0, 0.5, 0.95, 0.99, 1)] == [1, 50, 95, 99, 100]
    assert histogram.count == 100


def test_quantile_of_nothing_is_zero() -> None:
    assert Histogram().quantile(0.99) == 0.0


def test_microseconds_are_told_apart() -> None:
    histogram = Histogram()
    histogram.add(0.1514)
    histogram.add(0.1526)
    assert histogram.pairs() == [[0.151, 1], [0.153, 1]]


@given(st.lists(st.floats(0, 10_000)), st.lists(st.floats(0, 10_000)))
def test_merging_parts_gives_the_whole(first: list[float], second: list[float]) -> None:
    parts = [Histogram(), Histogram()]
    whole = Histogram()
    for part, values in zip(parts, (first, second), strict=True):
        for value in values:
            part.add(value)
            whole.add(value)
    parts[0].merge(parts[1])
    assert parts[0].pairs() == whole.pairs()
    assert Histogram(whole.pairs()).pairs() == whole.pairs()
