"""From the collector's seconds to the figures of one trial.

The window is whole seconds: from the first one after all users were there and warm, to the one
in which locust began to stop (stopping blocks its hub for some 30 ms with requests in flight).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from greensock.loadtest.histogram import Histogram

# Rows of greensock.loadtest about getting a connection. They are no answers of the handler, so
# only their failures are counted: each stands for a request that could not be made.
CONNECTION_ROWS = ("connect", "TLS handshake")

QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "p999": 0.999}


@dataclass
class Second:
    """One second of the load; times in milliseconds, None without a request in it."""

    t: int
    requests: int
    failures: int
    p50: float | None
    p99: float | None


@dataclass
class Load:
    """What locust saw in the window of one trial; times in milliseconds.

    `asked` is the mean rate of arrivals that were due in the window; 0: there was none to be met.
    `collected` is what all this was made from: the collector's marks, seconds (also outside of the
    window) and generators, in the form that greensock.loadtest.recording describes.
    """

    window: tuple[float, float] = (0.0, 0.0)
    requests: int = 0
    failures: int = 0
    rps: float = 0.0
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    p999: float | None = None
    max: float | None = None
    asked: float = 0.0
    received_bytes: int = 0
    lag_p99: float | None = None
    seconds: list[Second] = field(default_factory=list)
    histogram: list[list[float]] = field(default_factory=list)
    errors: dict[str, int] = field(default_factory=dict)
    counters: dict[str, int] = field(default_factory=dict)
    exceptions: list[str] = field(default_factory=list)
    collected: dict[str, Any] = field(default_factory=dict)


def quantile(histogram: Histogram, fraction: float) -> float | None:
    """As `Histogram.quantile`, but None when nothing was counted."""
    return histogram.quantile(fraction) if histogram.counts else None


def choose_window(marks: Mapping[str, float | None], warmup: float, seconds: float) -> range:
    """The whole seconds to count: at most `seconds` of them, none when the load was too short."""
    ready = marks.get("spawned") or marks.get("start")
    if ready is None:
        return range(0)
    first = math.ceil(ready + warmup)
    last = first + math.ceil(seconds)
    stopping = marks.get("stopping")
    if stopping is not None:
        last = min(last, math.floor(stopping))
    return range(first, max(first, last))


def reduce_load(results: Mapping[str, Any], window: range) -> Load:
    """The figures of some whole seconds from what the collector wrote."""
    whole = Histogram()
    by_second = {second: Histogram() for second in window}
    failures: Counter[int] = Counter()
    requests: Counter[int] = Counter()
    received = 0
    for second, name, count, failed, _total_ms, size, buckets in results["seconds"]:
        if second not in window:
            continue
        failures[second] += failed
        if name in CONNECTION_ROWS:
            continue
        requests[second] += count
        received += size
        whole.merge_pairs(buckets)
        by_second[second].merge_pairs(buckets)
    load = Load(
        window=(float(window.start), float(window.stop)),
        requests=sum(requests.values()),
        failures=sum(failures.values()),
        received_bytes=received,
        max=quantile(whole, 1.0),
        histogram=whole.pairs(),
        errors=dict(results["errors"]),
        counters=dict(results["counters"]),
        exceptions=[str(entry["msg"]) for entry in results["exceptions"]],
        collected={name: results[name] for name in ("marks", "seconds", "generators")},
    )
    load.rps = load.requests / len(window) if window else 0.0
    for name, share in QUANTILES.items():
        setattr(load, name, quantile(whole, share))
    load.seconds = [
        Second(
            second,
            requests[second],
            failures[second],
            quantile(by_second[second], 0.5),
            quantile(by_second[second], 0.99),
        )
        for second in window
    ]
    load.lag_p99 = quantile(lags_between(results, window.start, window.stop), 0.99)
    return load


def lags_between(results: Mapping[str, Any], first: float, last: float) -> Histogram:
    """By how much the generators' timers were late between two moments."""
    lags = Histogram()
    for generator in results["generators"].values():
        for moment, lag in generator["lag"]:
            if first <= moment <= last:
                lags.add(lag)
    return lags
