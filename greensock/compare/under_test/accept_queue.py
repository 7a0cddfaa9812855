"""How many clients the kernel has accepted for a listener that nobody has taken yet.

A connected client is not a served one: the kernel completes handshakes up to the backlog, and a
server that is stuck leaves them there with no error anywhere.
"""

from __future__ import annotations

from pathlib import Path

_LISTEN = "0A"  # net/tcp_states.h: in this state the column rx_queue is the accept queue


def unaccepted(address: str) -> int | None:
    """Clients waiting in the accept queue of the listener at `address`.

    None where that cannot be known: for UDP, and without Linux's /proc.
    """
    try:
        if address.startswith("unix:"):
            return _unaccepted_unix(address.removeprefix("unix:"))
        if address.startswith("tcp://"):
            return _unaccepted_tcp(address)
    except OSError:
        pass
    return None


def _unaccepted_tcp(address: str) -> int:
    port = int(address.rsplit(":", 1)[1])
    table = Path("/proc/net/tcp6" if "[" in address else "/proc/net/tcp")
    waiting = 0
    for line in table.read_text().splitlines()[1:]:
        _, local, _, state, queues, *_ = line.split()
        if state == _LISTEN and int(local.rsplit(":", 1)[1], 16) == port:
            waiting += int(queues.split(":")[1], 16)
    return waiting


def _unaccepted_unix(path: str) -> int:
    """A server's end that nobody has accepted has no inode yet, and the listener's path."""
    waiting = 0
    for line in Path("/proc/net/unix").read_text().splitlines()[1:]:
        *_, inode, name = line.split(maxsplit=7)  # the name is missing where there is none
        waiting += inode == "0" and name == path
    return waiting
