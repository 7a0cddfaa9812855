"""The built-in loads: what each is for and its defaults.

The locustfiles beside this module import locust and run only in locust's own process; this
module is data. Rates are such that the generator stays below 40 % of a core, because above it
the latencies would be locust's own: it manages about 25,000 exchanges a second in a closed loop
and 10,000 at a fixed rate, and every mixin serves more than that.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_FOLDER = Path(__file__).parent
_HANDLERS = "greensock.compare.scenarios.handlers"
LIVE = _FOLDER / "locust_live.py"

#: Before what the user has asked for and the locustfile cannot do; on locust's standard error.
REFUSED = "greensock: refused: "

HTTP_REQUEST = "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


@dataclass(frozen=True)
class Scenario:
    """One built-in load. `rate` is requests per second in all, 0 a closed loop.

    `idle` clients are held beside it by default. `expect` says when a reply is complete:
    `same` (as the request), `line`, `len` (as many bytes as were sent), `any` or `regex:PATTERN`.
    """

    name: str
    shows: str
    locustfile: Path
    target: str
    transport: str = "tcp"
    rate: float = 2000.0
    users: int = 50
    idle: int = 0
    payload_size: int = 64
    expect: str = "line"


SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario(
            "echo",
            "memory of idle clients, and whether they slow the active ones",
            _FOLDER / "locust_exchange.py",
            "greensock.examples:Echo",
            idle=2000,
            expect="same",
        ),
        Scenario(
            "line",
            "as echo, for a handler that answers a line with a line of its own",
            _FOLDER / "locust_exchange.py",
            f"{_HANDLERS}:LineUpper",
            idle=2000,
        ),
        Scenario(
            "churn",
            "connect, one exchange, close: what a new client costs",
            _FOLDER / "locust_churn.py",
            "greensock.examples:Echo",
            rate=500.0,
        ),
        Scenario(
            "http",
            "keep-alive requests to an http.server handler",
            _FOLDER / "locust_keepalive.py",
            f"{_HANDLERS}:Page",
            rate=1000.0,
            idle=2000,
            expect="any",
        ),
        Scenario(
            "large",
            "1 MiB there and back: copying and back-pressure",
            _FOLDER / "locust_exchange.py",
            f"{_HANDLERS}:LineEcho",
            rate=50.0,
            users=10,
            payload_size=1 << 20,
            expect="len",
        ),
        Scenario(
            "wait",
            "a handler that waits 50 ms: concurrency at little CPU",
            _FOLDER / "locust_exchange.py",
            f"{_HANDLERS}:Wait",
            users=200,
        ),
        Scenario(
            "compute",
            "a handler that computes 0.5 ms, as fast as it can: throughput and fairness",
            _FOLDER / "locust_exchange.py",
            f"{_HANDLERS}:Compute",
            rate=0.0,
            users=20,
        ),
        Scenario(
            "mixed",
            "as compute, but one request in twenty computes 50 ms: who lets the others wait?",
            _FOLDER / "locust_mixed.py",
            f"{_HANDLERS}:Mixed",
            rate=0.0,
            users=20,
        ),
        Scenario(
            "udp",
            "datagrams with sequence numbers: the cost of one, and loss",
            _FOLDER / "locust_datagram.py",
            f"{_HANDLERS}:DatagramEcho",
            transport="udp",
            rate=1000.0,
            expect="same",
        ),
        Scenario(
            "unix",
            "as echo, over a Unix socket",
            _FOLDER / "locust_exchange.py",
            "greensock.examples:Echo",
            transport="unix",
            idle=2000,
            expect="same",
        ),
    )
}
