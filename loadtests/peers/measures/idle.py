"""What an idle client costs: bytes of memory after its one exchange, and wake-ups of the server."""

import time

from greensock.processes import seen

from ..catalogue import Contender
from ..machine import Cores, max_clients
from ..running import NotMeasured, serving
from .measure import NEAREST, Column, Figures, Measure, Scale

# Seconds; arbitrary, longer than any contender here takes to give back what it can.
MAX_SETTLE = 6.0
# Seconds for opening the idle clients. A fork for the exchange of each takes longest, over 3 ms;
# what is open by then is what memory is divided by.
MAX_OPENING = 90.0
SETTLE_STEP = 0.25
SETTLED = 0.003  # memory has settled when no more than this share of it changes in a step


def settled_memory(server_pid: int, settle: float) -> int:
    """Bytes of the server's processes once they settle, after ``settle`` seconds at least."""
    time.sleep(settle)
    deadline = time.monotonic() + MAX_SETTLE
    memory = seen.anonymous_pss(seen.tree(server_pid))
    while time.monotonic() < deadline:
        before = memory
        time.sleep(SETTLE_STEP)
        memory = seen.anonymous_pss(seen.tree(server_pid))
        if abs(memory - before) <= SETTLED * before:
            break
    return memory


def measure_idle(contender: Contender, scale: Scale, cores: Cores) -> Figures:
    """Hold idle clients: the memory they add, and the context switches while nothing happens."""
    count = min(scale.idle_clients, contender.max_idle, max_clients())
    with serving(contender, cores) as (server, generator):
        # One client comes first: what a server loads or builds for its very first one is no
        # client's share.
        generator.ask("hold", count=1, deadline=10)
        generator.ask("release")
        before = settled_memory(server.pid, scale.settle / 2)
        answer = generator.ask("hold", count=count, deadline=MAX_OPENING)
        held = answer["held"]
        if held < count / 10:
            raise NotMeasured(f"{held} of {count} idle clients were answered")
        after = settled_memory(server.pid, scale.settle)
        is_ours = contender.name.startswith("greensock") and contender.max_idle > count
        window = scale.idle_window if is_ours else scale.peer_idle_window
        figures = _count_wakeups(server.pid, window)
        lost = generator.ask("check")["lost"]
    return figures | {
        "clients": held,
        "failed": answer["failed"],
        "lost": lost,
        "base_bytes": before,
        "bytes_per_client": (after - before) / held,
    }


def _count_wakeups(server_pid: int, window: float) -> Figures:
    pids = seen.tree(server_pid)
    cpu, switches = seen.cpu_seconds(pids), seen.context_switches(pids)
    time.sleep(window)
    wakeups = seen.context_switches(pids) - switches
    return {
        "processes": len(pids),
        "wakeups": wakeups,
        "idle_window": window,
        "idle_cpu": (seen.cpu_seconds(seen.tree(server_pid)) - cpu) / window,
    }


IDLE = Measure(
    name="idle",
    title="An idle client after one exchange: memory, and the server's wake-ups in silence",
    kind="tcp",
    run=measure_idle,
    columns=(
        Column("bytes_per_client", "bytes per client"),
        Column("clients", "clients"),
        Column("failed", "failed"),
        Column("lost", "lost"),
        Column("processes", "processes"),
        Column("wakeups", "wake-ups"),
        Column("idle_window", "in seconds", 1),
        Column("idle_cpu", "idle CPU", 3),
    ),
    quick_contenders=NEAREST,
    max_rounds=1,
)
