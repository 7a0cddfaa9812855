"""Echo exchanges in a closed loop, and the same beside idle clients."""

from statistics import median

from ..catalogue import Contender
from ..load.window import DISTURBED
from ..machine import Cores, max_clients
from ..running import Generator, NotMeasured, serving
from .measure import FULL, LOAD_COLUMNS, NEAREST, Column, Figures, Measure, Scale

CLIENTS = (1, 100, 1_000)
BESIDE_CLIENTS = 50
SLICE = 0.2  # seconds; at 50,000 exchanges/s the count is exact to 0.01 %, drift is what matters
MAX_OPENING = 30.0  # seconds for opening idle clients, which takes two


def measure_echo(contender: Contender, scale: Scale, cores: Cores) -> Figures:
    """One figure set per number of clients, on one server, the fewest first."""
    figures: Figures = {}
    with serving(contender, cores) as (_, generator):
        for clients in CLIENTS:
            answer = generator.ask("echo", clients=clients, **scale.load())
            figures |= {f"{key}@{clients}": value for key, value in answer.items()}
    return figures


def measure_beside_idle(contender: Contender, scale: Scale, cores: Cores) -> Figures:
    """Two servers side by side, one of them without idle clients, measured in turn."""
    figures: Figures = {"disturbed": False}
    bases: list[float] = []
    with serving(contender, cores) as (_, empty), serving(contender, cores) as (_, crowded):
        for level in scale.levels:
            if level > max_clients() - BESIDE_CLIENTS:
                break
            answer = crowded.ask("hold", count=level, deadline=MAX_OPENING, silent=True)
            if answer["held"] < level:
                raise NotMeasured(f"{answer['held']} of {level} idle clients were answered")
            pairs = [_pair(empty, crowded, first=n % 2) for n in range(scale.pairs)]
            bases += [base["per_second"] for base, _ in pairs]
            kept = [beside["per_second"] / base["per_second"] for base, beside in pairs]
            figures[f"per_second@{level}"] = median(beside["per_second"] for _, beside in pairs)
            figures[f"kept@{level}"] = median(kept)
            figures["disturbed"] |= median(b["other_cpu"] for b, _ in pairs) > DISTURBED
        figures["lost"] = crowded.ask("check")["lost"]
    if not bases:
        raise NotMeasured(f"more than {scale.levels[0]:,} open files are needed")
    return figures | {"per_second@0": median(bases)}


def _pair(empty: Generator, crowded: Generator, first: int) -> tuple[Figures, Figures]:
    """One slice of each, in either order.

    Many short slices instead of one long window each: on a virtual machine the speed of a core
    drifts by a third within seconds, and only neighbours in time tell 0.95 from 1.0.
    """
    load = {"clients": BESIDE_CLIENTS, "warmup": 0.03, "seconds": SLICE, "attempts": 1}
    if first:
        beside = crowded.ask("echo", **load)
        return empty.ask("echo", **load), beside
    return empty.ask("echo", **load), crowded.ask("echo", **load)


def measure_datagrams(contender: Contender, scale: Scale, cores: Cores) -> Figures:
    """Datagrams answered, with as many clients waiting for one each."""
    with serving(contender, cores) as (_, generator):
        return generator.ask("echo", clients=BESIDE_CLIENTS, **scale.load())


ECHO = Measure(
    name="echo",
    title="Echo of a 64-byte line, closed loop",
    kind="tcp",
    run=measure_echo,
    columns=(*LOAD_COLUMNS, Column("lost", "lost")),
    quick_contenders=NEAREST,
    sections=tuple((f"@{clients}", f"{clients:,} clients") for clients in CLIENTS),
)

BESIDE_IDLE = Measure(
    name="echo-beside-idle",
    title=f"Echo on {BESIDE_CLIENTS} clients while others are idle: exchanges per second",
    kind="tcp",
    run=measure_beside_idle,
    columns=(
        Column("per_second@0", "none idle"),
        *(
            column
            for level in FULL.levels
            for column in (
                Column(f"per_second@{level}", f"{level:,} idle"),
                Column(f"kept@{level}", "ratio", 2),
            )
        ),
    ),
    contenders=(
        "greensock-greenlet",
        "greensock-threading",
        "greensock-forking",
        "greensock-none",
        "gevent-lines",
        "epoll",
    ),
    quick_contenders=("greensock-greenlet", "greensock-threading", "gevent-lines", "epoll"),
    max_rounds=1,
)

UDP = Measure(
    name="udp",
    title=f"UDP: datagrams of 64 bytes answered, {BESIDE_CLIENTS} clients with one under way each",
    kind="udp",
    run=measure_datagrams,
    columns=(*LOAD_COLUMNS, Column("lost", "lost")),
    quick_contenders=(
        "greensock-udp-greenlet",
        "greensock-udp-none",
        "socketserver-udp",
        "gevent-udp",
        "asyncio-udp",
        "uvloop-udp",
        "epoll-udp",
    ),
)
