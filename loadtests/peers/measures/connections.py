"""Short connections: how many a second, and what is left of them in memory."""

from ..catalogue import Contender
from ..machine import Cores
from ..running import NotMeasured, serving
from .idle import settled_memory
from .measure import LOAD_COLUMNS, NEAREST, Column, Figures, Measure, Scale

AT_ONCE = 50
MAX_GROWTH_SECONDS = 45.0  # a server that takes longer is compared after what it has managed


def measure_connect(contender: Contender, scale: Scale, cores: Cores) -> Figures:
    """Connect, ask, close, a fixed number at once; the client closes first."""
    with serving(contender, cores) as (_, generator):
        return generator.ask("connect", at_once=AT_ONCE, **scale.load())


def measure_growth(contender: Contender, scale: Scale, cores: Cores) -> Figures:
    """Memory after the first connections against memory after ten times as many."""
    first, last = scale.grown_connections
    load = {"at_once": AT_ONCE, "warmup": 0.0, "seconds": MAX_GROWTH_SECONDS, "attempts": 1}
    with serving(contender, cores) as (server, generator):
        done = generator.ask("connect", count=first, **load)["done"]
        if done < first:
            raise NotMeasured(f"only {done:,} connections in {MAX_GROWTH_SECONDS:.0f} s")
        early = settled_memory(server.pid, scale.settle)
        done += generator.ask("connect", count=last - first, **load)["done"]
        late = settled_memory(server.pid, scale.settle)
    return {
        "early_mib": early / 2**20,
        "late_mib": late / 2**20,
        "grown": late / early,
        "connections": done,
    }


CONNECT = Measure(
    name="connect",
    title=f"Connect, ask, close: {AT_ONCE} at once, clients close first",
    kind="tcp",
    run=measure_connect,
    columns=(*LOAD_COLUMNS, Column("failed", "failed")),
    quick_contenders=(*NEAREST, "greensock-forking-classic", "socketserver-forks"),
)

GROWTH = Measure(
    name="growth",
    title="Memory after many short connections",
    kind="tcp",
    run=measure_growth,
    columns=(
        Column("early_mib", "MiB after the first", 2),
        Column("late_mib", "MiB after all", 2),
        Column("grown", "ratio", 3),
        Column("connections", "connections"),
    ),
    contenders=(
        "greensock-greenlet",
        "greensock-greenlet-classic",
        "greensock-threading",
        "greensock-none",
        "socketserver-threads",
        "gevent-lines",
    ),
    quick_contenders=("greensock-greenlet", "greensock-threading", "gevent-lines"),
    max_rounds=1,
)
