"""How many clients the kernel has accepted for a listener that nobody has taken yet.

A connected client is not a served one: the kernel completes handshakes up to the backlog, and a
server that is stuck leaves them there with no error anywhere.
"""

from __future__ import annotations

from pathlib import Path

_LISTEN = "0A"  # net/tcp_states.h: in this state the column rx_queue is the accept queue


def unaccepted(address: str) -> int | None:
    """Clients waiting in the accept queue of the listener at `address`.

    None where that cannot be known: for Unix sockets, for UDP, and without Linux's /proc.
    """
    if not address.startswith("tcp://"):
        return None
    port = int(address.rsplit(":", 1)[1])
    table = Path("/proc/net/tcp6" if "[" in address else "/proc/net/tcp")
    try:
        lines = table.read_text().splitlines()[1:]
    except OSError:
        return None
    waiting = 0
    for line in lines:
        _, local, _, state, queues, *_ = line.split()
        if state == _LISTEN and int(local.rsplit(":", 1)[1], 16) == port:
            waiting += int(queues.split(":")[1], 16)
    return waiting
