"""The figures a comparison is about: their names, words, units, and which end is the good one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


def number(value: float) -> str:
    """Three significant digits, thousands apart: 0.0123, 1.23, 12.3, 1,230."""
    if value >= 100 or value == 0:
        return f"{value:,.0f}"
    if value >= 10:
        return f"{value:.1f}"
    if value >= 1:
        return f"{value:.2f}"
    return f"{value:.3g}"


def whole(value: float) -> str:
    return f"{value:,.0f}"


@dataclass(frozen=True)
class Metric:
    """One figure. `better` is "low", "high", or None where neither end is a merit.

    `claim` is what its best contender is said to do, in findings and titles.
    """

    name: str
    label: str
    unit: str = ""
    better: str | None = None
    show: Callable[[float], str] = number
    claim: str = ""


METRICS = {
    metric.name: metric
    for metric in (
        Metric("rps", "requests/s", "requests/s", "high", whole, "serves the most requests"),
        Metric(
            "max_rate", "highest rate held", "requests/s", "high", whole, "holds the highest rate"
        ),
        Metric("requests", "requests", show=whole),
        Metric("p50", "p50 ms", "ms", "low", claim="has the shortest median time"),
        Metric("p95", "p95 ms", "ms", "low", claim="has the shortest p95"),
        Metric("p99", "p99 ms", "ms", "low", claim="has the shortest p99"),
        Metric("p999", "p99.9 ms", "ms", "low", claim="has the shortest p99.9"),
        Metric("max", "max ms", "ms"),
        Metric("failures", "failures", show=whole),
        Metric(
            "cpu_s_per_1000",
            "CPU s per 1,000 requests",
            "s per 1,000",
            "low",
            claim="needs the least CPU per request",
        ),
        Metric("server_cpu", "server CPU %", "% of a core"),
        Metric("mib_base", "server PSS MiB, no clients", "MiB"),
        Metric("pss_base", "bytes before idle clients", "bytes", show=whole),
        Metric("idle_held", "idle clients held", show=whole),
        Metric(
            "kib_per_idle",
            "PSS KiB per idle client",
            "KiB",
            "low",
            claim="needs the least memory per idle client",
        ),
        Metric("kernel_kib_per_idle", "+ kernel KiB", "KiB"),
        # The same figures once more, for thresholds.
        Metric("bytes_per_idle", "bytes per idle client", "bytes", show=whole),
        Metric("kernel_bytes_per_idle", "+ kernel bytes", "bytes", show=whole),
        Metric("processes", "processes", show=whole),
        Metric("threads", "threads", show=whole),
        Metric("greenlets", "greenlets", show=whole),
        Metric("idle_cpu", "CPU % when all idle", "% of a core"),
        Metric("generator_cpu", "generator CPU %", "% of a core"),
        Metric("generator_lag_p99", "generator lag p99 ms", "ms"),
        Metric("other_cpu", "others' CPU %", "% of a core"),
        Metric("steal", "steal %", "% of a core"),
    )
}
