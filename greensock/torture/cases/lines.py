"""Clients who send too much, too fast, or never read."""

from __future__ import annotations

import time

from greensock.torture.bench import Bench
from greensock.torture.exchange import half_of, questions
from greensock.torture.pump import Pump, wait_for_any
from greensock.torture.settings import KIB, MIB


def endless_line(bench: Bench) -> None:
    """A client sends a line without an end.

    Passes if the others are served beside it and the server's memory does not grow with it: it cuts
    the client off, stops reading, or has no use for lines. Judged with --pid or --command.
    """
    limit = bench.settings.endless_line
    pump = Pump(bench.client())
    start = half_of(bench.exchange)
    pump.push(start)
    filler = b"x" * (256 * KIB)
    deadline = time.monotonic() + bench.settings.big_wait
    # The server may be busy for a while with what it has; it is not to be waited for longer.
    quiet_until = time.monotonic() + bench.settings.patience
    while pump.sent < limit and pump.ended is None and time.monotonic() < deadline:
        if pump.push(filler) + pump.discard():
            quiet_until = time.monotonic() + bench.settings.patience
            bench.look_at_memory()
        elif time.monotonic() > quiet_until:
            break
        else:
            wait_for_any([pump], 0.02)
    if pump.ended is None:
        bench.hold(bench.settings.hold, pump.discard)
    bench.look_at_memory()
    how = "and was hung up on" if pump.ended else "and stayed"
    bench.note(f"sent {pump.sent / MIB:.1f} MiB {how}")
    bench.judge_memory()


def never_reads(bench: Bench) -> None:
    """Clients ask and ask, and never read an answer.

    Passes if the others are served beside them, the server's memory does not grow with what they
    would have to read, and it uses no CPU while they are stuck.
    """
    # Small buffers here, so that the server's are what fills.
    count = max(4, bench.settings.clients // 10)
    pumps = [Pump(sock) for sock in bench.clients(count, SO_RCVBUF=4 * KIB, SO_SNDBUF=64 * KIB)]
    block = questions(bench.exchange, 64 * KIB)
    deadline = time.monotonic() + bench.settings.big_wait
    stuck_since = time.monotonic()
    while time.monotonic() < min(deadline, stuck_since + bench.settings.hold):
        pushing = [p for p in pumps if p.ended is None and p.sent < bench.settings.unread]
        if sum(pump.push(block) for pump in pushing):
            stuck_since = time.monotonic()
        else:
            # Stuck sockets are readable all the time: only their writing is waited for.
            time.sleep(0.01)
        bench.look_at_memory()
    ended = sum(pump.ended is not None for pump in pumps)
    sent = sum(pump.sent for pump in pumps)
    bench.judge_spin("beside clients who never read")
    bench.note(f"{len(pumps)} clients sent {sent / MIB:.1f} MiB, {ended} hung up on")
    bench.judge_memory()


def flood(bench: Bench) -> None:
    """Clients ask as fast as the network takes it, and read all answers.

    Passes if the others are served beside them: a client who always has more to say must not keep
    the server to itself.
    """
    pumps = [Pump(sock) for sock in bench.clients(bench.settings.flooders)]
    block = questions(bench.exchange, 64 * KIB)
    deadline = time.monotonic() + bench.settings.hold
    while time.monotonic() < deadline:
        alive = [pump for pump in pumps if pump.ended is None]
        if not alive:
            break
        if not sum(pump.push(block) + pump.discard() for pump in alive):
            wait_for_any(alive, 0.02)
        bench.look_at_memory()
    answered = sum(pump.received for pump in pumps) / MIB
    ended = sum(pump.ended is not None for pump in pumps)
    bench.note(f"{len(pumps)} clients were answered {answered:.1f} MiB, {ended} hung up on")
    bench.judge_memory()
