"""What one comparison is going to do, checked before anything is started."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from greensock.compare.contenders import MIXINS, PEERS, Contender
from greensock.compare.mistakes import UserMistake
from greensock.compare.scenarios import HTTP_REQUEST, SCENARIOS, Scenario
from greensock.loadtest.schedule import Stage

DEFAULT_TARGET = "greensock.examples:Echo"

# Files a process has open beside its clients: listener, hub, standard streams, libraries.
SPARE_FILES = 64

# Measured on two cores with the default plan: starting a server and locust, and the pauses in
# which memory settles before it is read.
TRIAL_OVERHEAD = 6.5
SECONDS_PER_IDLE_CLIENT = 0.0008


@dataclass(frozen=True)
class Plan:
    """Everything a trial needs to know. Times in seconds, sizes in bytes, rates per second.

    `rate` is None for `max`, the search for the highest rate a contender holds, and 0 for a
    closed loop. `stages` replace `rate` and `run_time`.
    `server_cpus` and `generator_cpus` are empty when nothing is pinned.
    """

    target: str = DEFAULT_TARGET
    contenders: tuple[str, ...] = MIXINS
    scenario: str = "echo"
    locustfile: str | None = None
    user_classes: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    exclude_tags: tuple[str, ...] = ()
    transport: str = "tcp"
    users: int = 50
    spawn_rate: float = 100.0
    processes: int = 1
    rate: float | None = 2000.0
    arrivals: str = "constant"
    stages: tuple[Stage, ...] = ()
    warmup: float = 1.0
    run_time: float = 4.0
    stop_timeout: float = 1.0
    rounds: int = 3
    idle: int = 2000
    payload_size: int = 64
    expect: str = "same"
    timeout: float = 2.0
    settings: tuple[str, ...] = ()
    max_children: int | None = None
    max_threads: int | None = None
    sample_interval: float = 1.0
    server_cpus: tuple[int, ...] = ()
    generator_cpus: tuple[int, ...] = ()
    thresholds: tuple[str, ...] = ()
    seed: int | None = None

    def load_seconds(self) -> float:
        """How long the measured part of the load lasts."""
        return sum(stage.duration for stage in self.stages) or self.run_time

    def estimate(self) -> float:
        """Seconds that the whole comparison will take, roughly."""
        load = self.lead_in() + self.load_seconds()
        idle = 1.0 + self.idle * SECONDS_PER_IDLE_CLIENT if self.idle else 0.0
        trials = len(self.contenders) * self.rounds
        return trials * (TRIAL_OVERHEAD + idle + load)

    def lead_in(self) -> float:
        """Seconds in which users come and the server warms up."""
        return self.users / self.spawn_rate + self.warmup

    def staged(self) -> str:
        """The stages as text, after a lead-in at the first rate while users come and warm up."""
        if not self.stages:
            return ""
        lead_in = Stage(self.lead_in(), self.stages[0].rate)
        return ",".join(
            f"{stage.duration:.3f}s:{stage.rate:.3f}-{stage.last_rate:.3f}"
            for stage in (lead_in, *self.stages)
        )

    def target_rate(self) -> float:
        """The mean rate of arrivals over the measured time; 0 when there is none to be met."""
        if self.rate is None:
            return 0.0
        if self.stages:
            due = sum(stage.arrivals(stage.duration) for stage in self.stages)
            return due / self.load_seconds()
        return self.rate

    def idle_payload(self) -> str:
        """What each idle client says once, as text."""
        if self.scenario == "http":
            return HTTP_REQUEST
        return "i" * (min(self.payload_size, 1024) - 1) + "\n"

    def server_settings(self, contender: Contender) -> list[str]:
        """`NAME=VALUE` class attributes for one contender's server."""
        chosen = list(self.settings)
        if self.max_children is not None and contender.kind == "forking":
            chosen.append(f"max_children={self.max_children}")
        if self.max_threads is not None and contender.name == "threading":
            chosen.append(f"max_threads={self.max_threads}")
        return chosen

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass
class Output:
    """Where results go. `folder` is None for the table alone; `json_file` `-` is stdout."""

    folder: Path | None = field(default_factory=lambda: Path("greensock-report"))
    json_file: str | None = None
    html_file: str | None = None
    plots: bool = True
    keep_logs: bool = False
    fail_on_flags: bool = False
    against: str | None = None


def choose_scenario(name: str | None, target: str | None, locustfile: str | None) -> Scenario:
    """The scenario asked for, or the one that suits what was given.

    A handler of the user's own is asked line by line, since only an echo can be checked
    byte by byte. `custom` (an own locustfile) borrows the defaults of `line`.
    """
    if locustfile is not None:
        if name not in (None, "custom"):
            raise UserMistake(f"--locustfile brings its own load: leave out --scenario {name}")
        return SCENARIOS["line"]
    if name is None:
        name = "echo" if target in (None, DEFAULT_TARGET) else "line"
    if name == "custom":
        raise UserMistake("--scenario custom needs --locustfile FILE")
    if name not in SCENARIOS:
        known = ", ".join(SCENARIOS)
        raise UserMistake(f"--scenario must be one of {known}, custom, not {name}")
    return SCENARIOS[name]


def choose_contenders(mixins: str | None, peers: bool) -> tuple[str, ...]:
    """The contenders' names in the order given, each once."""
    names = [name.strip() for name in mixins.split(",")] if mixins else list(MIXINS)
    if peers:
        names += PEERS
    for name in names:
        if name not in MIXINS + PEERS:
            known = ", ".join(MIXINS + PEERS)
            raise UserMistake(f"--mixins must name some of {known}, not {name!r}")
    return tuple(dict.fromkeys(names))


def check_limits(plan: Plan, open_files: int) -> None:
    """Refuse what cannot work, before it fails half-way."""
    room = open_files - plan.users - SPARE_FILES
    if plan.idle > room:
        raise UserMistake(
            f"--idle must be at most {room}, not {plan.idle}: a process may open {open_files} "
            f"files here (ulimit -n), and {plan.users} users need some"
        )
    if plan.idle and plan.transport == "udp":
        raise UserMistake("--idle must be 0 over UDP: a datagram server has no idle clients")


def choose_pinning(text: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """(the server's CPUs, everybody else's) for `auto`, `none` or `0:1-3`; empty: not pinned."""
    usable = sorted(os.sched_getaffinity(0))
    if text == "none" or (text == "auto" and len(usable) < 2):
        return (), ()
    if text == "auto":
        return (usable[0],), tuple(usable[1:])
    try:
        server, generator = (parse_cpus(part) for part in text.split(":"))
    except ValueError:
        message = f"--pin must be auto, none or SERVER:GENERATOR such as 0:1-3, not {text!r}"
        raise UserMistake(message) from None
    for cpu in server + generator:
        if cpu not in usable:
            raise UserMistake(f"--pin names CPU {cpu}, but this process may use only {usable}")
    return server, generator


def parse_cpus(text: str) -> tuple[int, ...]:
    """`0,2-4` as (0, 2, 3, 4)."""
    cpus: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        cpus += range(int(first), int(last or first) + 1)
    if not cpus:
        raise ValueError(text)
    return tuple(cpus)


def parse_seconds(text: str) -> float:
    """`15`, `15s`, `500ms`, `1m30s` as seconds; ValueError for anything else."""
    units = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
    total, rest = 0.0, text.strip()
    if not rest:
        raise ValueError(text)
    while rest:
        digits = len(rest) - len(rest.lstrip("0123456789."))
        unit = rest[digits:].lstrip(" ")
        letters = len(unit) - len(unit.lstrip("msh"))
        factor = units[unit[:letters]] if letters and unit[:letters] in units else None
        if factor is None:
            if unit:
                raise ValueError(text)
            factor = 1.0
        total += float(rest[:digits]) * factor
        rest = unit[letters:]
    return total
