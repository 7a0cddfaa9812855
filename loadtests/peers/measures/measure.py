"""What a measure is, and how much of everything a run does."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..catalogue import Contender
from ..machine import Cores

Figures = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Scale:
    """How long and how much; durations in seconds.

    Attributes:
        rounds: How often each contender is measured, in turn with the others.
        warmup: What runs before each window and does not count.
        window: How long a figure is taken over.
        attempts: How many windows are tried to find one that nothing else on the machine disturbs.
        idle_clients: How many idle clients memory and wake-ups are taken with.
        settle: The least time between the last exchange and a look at the memory.
        idle_window: How long the wake-ups of greensock with many idle clients are counted.
        peer_idle_window: How long the others' are.
        levels: How many idle clients are held beside an echo load.
        pairs: How often that load is compared with the same beside none.
        grown_connections: After how many connections memory is compared.
        everyone: False leaves the slower measures to greensock and its nearest peers.
    """

    rounds: int
    warmup: float
    window: float
    attempts: int
    idle_clients: int
    settle: float
    idle_window: float
    peer_idle_window: float
    levels: tuple[int, ...]
    pairs: int
    grown_connections: tuple[int, int]
    everyone: bool

    def load(self) -> dict[str, Any]:
        """The arguments that every load of the generator takes."""
        return {"warmup": self.warmup, "seconds": self.window, "attempts": self.attempts}


FULL = Scale(
    rounds=3,
    warmup=0.1,
    window=0.5,
    attempts=2,
    idle_clients=10_000,
    settle=1.5,
    idle_window=10.0,
    peer_idle_window=3.0,
    levels=(1_000, 5_000, 10_000, 18_000),
    pairs=7,
    grown_connections=(10_000, 100_000),
    everyone=True,
)

QUICK = Scale(
    rounds=1,
    warmup=0.1,
    window=0.3,
    attempts=1,
    idle_clients=1_000,
    settle=0.5,
    idle_window=1.0,
    peer_idle_window=0.5,
    levels=(5_000,),
    pairs=3,
    grown_connections=(1_000, 6_000),
    everyone=False,
)


# A quick run leaves the slower measures to these: one contender of each family, and greensock's
# but for the children of classic handlers, which take seconds to start and to end.
NEAREST = (
    "greensock-greenlet",
    "greensock-threading",
    "greensock-forking",
    "greensock-none",
    "greensock-greenlet-classic",
    "greensock-threading-classic",
    "socketserver-threads",
    "gevent-lines",
    "asyncio-protocol",
    "uvloop-streams",
    "uvloop-protocol",
    "epoll",
)


@dataclass(frozen=True, slots=True)
class Column:
    """One figure in a measure's table: its key in `Figures`, its heading, its decimals."""

    figure: str
    heading: str
    decimals: int = 0


@dataclass(frozen=True, slots=True)
class Measure:
    """Something to measure of contenders.

    Attributes:
        name: What ``--only`` calls it.
        title: What the table is headed with.
        kind: The kind of contender it can be asked of.
        run: Measures one contender once; raises `NotMeasured` with the reason if it cannot.
        columns: What its table shows.
        sections: Suffixes of figures and what they stand for: one table for each, in which every
            column's figure has the suffix; by default one table of the plain figures.
        contenders: Names of those it is limited to; None for all of the kind.
        quick_contenders: The same in a quick run; None for no further limit.
        max_rounds: More rounds add nothing: what it counts does not drift with the machine's
            speed, or it compares within a round already.
    """

    name: str
    title: str
    kind: str
    run: Callable[[Contender, Scale, Cores], Figures]
    columns: tuple[Column, ...]
    sections: tuple[tuple[str, str], ...] = (("", ""),)
    contenders: tuple[str, ...] | None = None
    quick_contenders: tuple[str, ...] | None = None
    max_rounds: int | None = None

    def suits(self, contender: Contender, scale: Scale) -> bool:
        """Whether the contender belongs into this measure's table."""
        limits = [self.contenders, None if scale.everyone else self.quick_contenders]
        return contender.kind == self.kind and all(
            limit is None or contender.name in limit for limit in limits
        )


LOAD_COLUMNS = (
    Column("per_second", "per second"),
    Column("server_cpu", "server CPU", 2),
    Column("generator_cpu", "load CPU", 2),
    Column("p50_us", "p50 us"),
    Column("p99_us", "p99 us"),
    Column("p999_us", "p99.9 us"),
)
