"""What one comparison is going to do, checked before anything is started."""

from __future__ import annotations

import ipaddress
import os
import shlex
import socket
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from greensock.arguments.usage import UsageError
from greensock.compare.planning.contenders import (
    MIXINS,
    OF_PROGRAMS,
    PEERS,
    PEERS_OF_PROGRAMS,
    Contender,
)
from greensock.compare.scenarios import HTTP_REQUEST, SCENARIOS, Scenario
from greensock.loadtest.schedule import RateCurve, Stage, parse_stages

DEFAULT_TARGET = "greensock.examples:Echo"

# Files a process has open beside its clients: listener, hub, standard streams, libraries.
SPARE_FILES = 64

# What --idle-probe says for: idle clients say nothing.
NO_PROBE = "none"
MAX_SOURCES = 65_536
PORTS = 28_000  # Linux's ephemeral ports, for one pair of addresses

# A child for each client, where a client keeps one; 1,000 of them take about a gigabyte. Where
# idle clients are parked they need none, and so high a bound is not reached.
MOST_CHILDREN = 1_000
SPARE_CHILDREN = 10

# Measured on two cores with the default plan: starting a server and locust, and the pauses in
# which memory settles before it is read.
TRIAL_OVERHEAD = 6.5
SECONDS_PER_IDLE_CLIENT = 0.0008


@dataclass(frozen=True)
class Plan:
    """Everything a trial needs to know. Times in seconds, sizes in bytes, rates per second.

    `rate` is None for `max`, the search for the highest rate a contender holds, and 0 for a
    closed loop. `stages` replace `rate` and `run_time`.
    `own_rate`: the rate is whatever the locustfile itself says.
    `idle_probe` is what an idle client says once, a character for each byte: None for what the
    scenario says, NO_PROBE for nothing at all. `idle_source` is one address or a network.
    `server_cpus` and `generator_cpus` are empty when nothing is pinned.
    """

    target: str = DEFAULT_TARGET
    is_program: bool = False
    contenders: tuple[str, ...] = MIXINS
    scenario: str = "echo"
    locustfile: str | None = None
    own_rate: bool = False
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
    idle_probe: str | None = None
    idle_source: str | None = None
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

    def asked_between(self, first: float, last: float) -> float:
        """The mean rate of arrivals between two moments, in seconds since the load began."""
        if not self.stages or self.rate is None or last <= first:
            return self.target_rate()
        curve = RateCurve(parse_stages(self.staged()))
        return (curve.arrivals(last) - curve.arrivals(first)) / (last - first)

    def needs_idle_holder(self) -> bool:
        """Also without idle clients it asks the first ones, if it knows what to say."""
        return self.idle > 0 or (self.locustfile is None and self.transport != "udp")

    def idle_payload(self) -> str | None:
        """What each idle client says once; None: nothing."""
        if self.idle_probe is not None:
            return None if self.idle_probe == NO_PROBE else self.idle_probe
        if self.locustfile is not None:
            return None  # whose protocol nobody here knows
        if self.scenario == "http":
            return HTTP_REQUEST
        return "i" * (min(self.payload_size, 1024) - 1) + "\n"

    def idle_sources(self) -> list[str]:
        """The addresses from which idle clients come, in turn; none: the kernel's choice."""
        if self.idle_source is None:
            return []
        first = ipaddress.ip_interface(self.idle_source)
        number = min(MAX_SOURCES, int(first.network.broadcast_address) - int(first.ip) or 1)
        return [str(first.ip + step) for step in range(number)]

    def datagram_payload(self) -> str:
        """A datagram as the load's, with a number before it if its reply must begin with one."""
        return ("0000000001 " if self.expect == "same" else "") + "i" * self.payload_size

    def bounds(self) -> dict[str, int]:
        """max_children and max_threads of the contenders that have such a bound."""
        children = self.max_children or min(MOST_CHILDREN, self.idle + self.users + SPARE_CHILDREN)
        found = {name: children for name in self.contenders if Contender(name).kind == "forking"}
        if self.max_threads is not None and "threading" in self.contenders:
            found["threading"] = self.max_threads
        return found

    def server_settings(self, contender: Contender) -> list[str]:
        """`NAME=VALUE` class attributes for one contender's server."""
        chosen = list(self.settings)
        if contender.name in (bounds := self.bounds()):
            name = "max_children" if contender.kind == "forking" else "max_threads"
            # Before the user's own, of which the last one counts.
            chosen.insert(0, f"{name}={bounds[contender.name]}")
        return chosen

    def notes(self) -> list[str]:
        """What a reader of the figures must know of how the contenders were set up."""
        children = [name for name in self.contenders if Contender(name).kind == "forking"]
        notes = []
        if children and not any(text.startswith("max_children=") for text in self.settings):
            most = self.bounds()[children[0]]
            how = "as told"
            if self.max_children is None:
                how = f"idle clients + users + {SPARE_CHILDREN}, at most {MOST_CHILDREN:,}"
            notes.append(f"{', '.join(children)} with max_children={most} ({how})")
        plain = [name for name in self.contenders if self.is_program and Contender(name).is_peer]
        if plain and self.settings:
            notes.append(f"--set does nothing to {', '.join(plain)}: there python runs the program")
        if not self.server_cpus:
            notes.append("not pinned: server and load share the CPUs, so doubt the times")
        elif len(self.server_cpus) + len(self.generator_cpus) <= 2:
            notes.append("two CPUs, one for the server and one for the load, are the least")
        return notes

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

    def draws(self) -> bool:
        """Whether there will be pictures."""
        return self.plots and (self.folder is not None or self.html_file is not None)


def choose_scenario(name: str | None, target: str | None, locustfile: str | None) -> Scenario:
    """The scenario asked for, or the one that suits what was given.

    A handler of the user's own is asked line by line, since only an echo can be checked
    byte by byte. `custom` (an own locustfile) borrows the defaults of `line`.
    """
    if locustfile is not None:
        if name not in (None, "custom"):
            raise UsageError(f"--locustfile brings its own load: leave out --scenario {name}")
        return SCENARIOS["line"]
    if name is None:
        name = "echo" if target in (None, DEFAULT_TARGET) else "line"
    if name == "custom":
        raise UsageError("--scenario custom needs --locustfile FILE")
    if name not in SCENARIOS:
        known = ", ".join(SCENARIOS)
        raise UsageError(f"--scenario must be one of {known}, custom, not {name}")
    return SCENARIOS[name]


def choose_contenders(mixins: str | None, peers: bool, is_program: bool = False) -> tuple[str, ...]:
    """The contenders' names in the order given, each once."""
    own, others = (OF_PROGRAMS, PEERS_OF_PROGRAMS) if is_program else (MIXINS, PEERS)
    names = list(own) if mixins is None else [name.strip() for name in mixins.split(",")]
    # Who names some of them has chosen.
    if peers and not set(names) & set(others):
        names += others
    for name in names:
        if name not in own + others:
            known = ", ".join(own + others)
            raise UsageError(f"--mixins must name some of {known}, not {name!r}")
    return tuple(dict.fromkeys(names))


def choose_program(text: str, target: str | None, scenario: str | None) -> str:
    """The scenario for a program: HTTP, unless said otherwise.

    Raises:
        UsageError: the program cannot be told its port, or there is a target too.
    """
    if target is not None:
        raise UsageError(f"--program is compared in place of a target: leave out {target}")
    try:
        shlex.split(text)
    except ValueError as error:
        raise UsageError(f"--program: {error}") from None
    if "{port}" not in text:
        raise UsageError(
            f'--program must say where its port goes, as in "-m http.server {{port}}", not {text!r}'
        )
    if scenario in ("udp", "unix"):
        raise UsageError(f"--program is loaded over TCP: --scenario {scenario} is not")
    return scenario or "http"


def check_limits(plan: Plan, open_files: int) -> None:
    """Refuse what cannot work, before it fails half-way."""
    room = open_files - plan.users - SPARE_FILES
    if plan.idle > room:
        raise UsageError(
            f"--idle must be at most {room}, not {plan.idle}: a process may open {open_files} "
            f"files here (ulimit -n), and {plan.users} users need some"
        )
    check_source(plan)
    if plan.idle and plan.transport == "udp":
        raise UsageError("--idle must be 0 over UDP: a datagram server has no idle clients")


def check_source(plan: Plan) -> None:
    """The addresses of --idle-source must be this machine's, and offer enough ports."""
    if plan.idle_source is None:
        return
    try:
        sources = plan.idle_sources()
        family = socket.AF_INET6 if ":" in sources[0] else socket.AF_INET
        with socket.socket(family) as sock:
            sock.bind((sources[0], 0))
    except (ValueError, OSError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"--idle-source {plan.idle_source}: {reason}") from None
    if plan.idle > (most := len(sources) * PORTS):
        raise UsageError(f"--idle must be at most {most} from --idle-source {plan.idle_source}")


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
        raise UsageError(message) from None
    for cpu in server + generator:
        if cpu not in usable:
            raise UsageError(f"--pin names CPU {cpu}, but this process may use only {usable}")
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
