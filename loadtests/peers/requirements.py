"""What greensock must reach, and whether a run shows that it does."""

from dataclasses import dataclass
from typing import Any

from .results import Results

REQUEST_WISE = ("greenlet", "threading", "forking", "none")


@dataclass(frozen=True, slots=True)
class Requirement:
    """A bound on one figure of a contender, or on its ratio to another contender's.

    Attributes:
        measure: The measure's name.
        figure: The key in the measure's figures.
        contender: Who must reach it.
        bound: The least value, or the greatest if ``at_most``.
        against: The contender that the figure is divided by; None for the figure itself.
        at_most: Whether smaller is better.
    """

    measure: str
    figure: str
    contender: str
    bound: float
    against: str | None = None
    at_most: bool = False

    def describe(self) -> str:
        """The bound in words."""
        word = "at most" if self.at_most else "at least"
        if self.against is None:
            return f"{word} {self.bound:,g}"
        return f"{word} {self.bound:g} x {self.against}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a run judges a requirement.

    Attributes:
        value: The figure or ratio; None if the run has not measured it.
        per_cpu: The ratio is one of rates per second of the server's CPU time: for one of the two
            the load generator was the limit, or other programs took the CPUs, and its rate then
            says nothing about the server.
        reached: None if there is no value.
    """

    requirement: Requirement
    value: float | None
    per_cpu: bool
    reached: bool | None

    def as_json(self) -> dict[str, Any]:
        """The verdict with its requirement in words."""
        return {
            "measure": self.requirement.measure,
            "figure": self.requirement.figure,
            "contender": self.requirement.contender,
            "required": self.requirement.describe(),
            "value": self.value,
            "per_cpu": self.per_cpu,
            "reached": self.reached,
        }


def judge(requirement: Requirement, results: Results) -> Verdict:
    """Compare a requirement with the medians of a run."""
    measure, figure, per_cpu = requirement.measure, requirement.figure, False
    name, against = requirement.contender, requirement.against
    if against is None:
        value = results.median(measure, name, figure)
    else:
        stem, _, suffix = figure.partition("@")
        suffix = f"@{suffix}" if suffix else ""
        per_cpu = stem == "per_second" and any(
            spoilt(measure, one, suffix)
            for one in (name, against)
            for spoilt in (results.saturated, results.disturbed)
        )
        if per_cpu:
            figure = f"per_server_second{suffix}"
        value = results.ratio(measure, figure, name, against)
    if value is None:
        return Verdict(requirement, None, per_cpu, None)
    reached = value <= requirement.bound if requirement.at_most else value >= requirement.bound
    return Verdict(requirement, value, per_cpu, reached)


def _all() -> list[Requirement]:
    wise = [f"greensock-{mixin}" for mixin in REQUEST_WISE]
    classic = ["greensock-greenlet-classic", "greensock-threading-classic"]
    bytes_each, rate, busy = "bytes_per_client", "per_second", "per_second@100"
    greenlet, threading, forking = wise[0], wise[1], wise[2]
    return [
        *(Requirement("idle", bytes_each, name, 800, at_most=True) for name in wise),
        *(Requirement("idle", bytes_each, name, 1, "uvloop-protocol", True) for name in wise),
        Requirement("idle", bytes_each, classic[0], 8_000, at_most=True),
        Requirement("idle", bytes_each, classic[0], 0.55, "gevent-lines", True),
        *(Requirement("idle", "wakeups", name, 0, at_most=True) for name in wise + classic),
        Requirement("echo", busy, greenlet, 0.85, "epoll"),
        *(
            Requirement("echo", busy, greenlet, 1, peer)
            for peer in ("uvloop-streams", "asyncio-protocol", "gevent-chunks", "gevent-lines")
        ),
        Requirement("echo", busy, classic[0], 1.4, "gevent-lines"),
        Requirement("echo", busy, classic[0], 1.4, "gevent-chunks"),
        Requirement("echo", busy, classic[1], 1, "socketserver-threads"),
        Requirement("echo", busy, threading, 1, "socketserver-threads"),
        Requirement("connect", rate, greenlet, 0.9, "epoll"),
        Requirement("connect", rate, greenlet, 1.8, "gevent-lines"),
        Requirement("connect", rate, threading, 1, "socketserver-threads"),
        Requirement("connect", rate, classic[1], 1, "socketserver-threads"),
        Requirement("connect", rate, forking, 1, "socketserver-forks"),
        Requirement("connect", rate, "greensock-forking-classic", 1, "socketserver-forks"),
        *(
            Requirement("echo-beside-idle", f"kept@{level}", name, 0.95)
            for name in wise
            for level in (10_000, 18_000)
        ),
        *(
            Requirement("udp", rate, f"greensock-udp-{mixin}", bound, peer)
            for mixin in ("greenlet", "none")
            for bound, peer in ((1.5, "socketserver-udp"), (1, "asyncio-udp"))
        ),
        Requirement("http", rate, "greensock-http-greenlet", 10, "socketserver-http"),
        Requirement("http", rate, "greensock-http-greenlet", 1.15, "socketserver-http-no-nagle"),
        *(Requirement("flood", "p99_us", name, 10_000, at_most=True) for name in wise + classic),
        *(
            Requirement("growth", "grown", name, 1.02, at_most=True)
            for name in (greenlet, classic[0], threading, "greensock-none")
        ),
    ]


REQUIREMENTS = tuple(_all())
