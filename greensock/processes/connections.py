"""What the kernel knows of a server's connections: /proc/net."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from greensock.processes.seen import read

_LISTEN = "0A"  # net/tcp_states.h: in this state the column rx_queue is the accept queue
_KEEPALIVE_TIMER = "02"  # of a connection that sends keep-alive probes, or closes after them


class _Stream(NamedTuple):
    """A line of /proc/net/tcp."""

    port: int
    peer_port: int
    state: str
    received: int
    timer: str


def _streams(pid: int | None, *tables: str) -> Iterator[_Stream]:
    """Those that a process sees (None: this one), which may be of another network."""
    for name in tables:
        for line in read(f"/proc/{pid or 'self'}/net/{name}").splitlines()[1:]:
            _, here, there, state, queues, timer, *_ = line.split()
            port, peer_port = (int(end.rpartition(":")[2], 16) for end in (here, there))
            received = int(queues.partition(":")[2], 16)
            yield _Stream(port, peer_port, state, received, timer.partition(":")[0])


def unaccepted(address: str) -> int | None:
    """Clients that the kernel has accepted for the listener at `address`, and nobody has taken yet.

    A connected client is not a served one: the kernel completes handshakes up to the backlog, and
    a server that is stuck leaves them there with no error anywhere. None for UDP, where there is
    no such thing.
    """
    if address.startswith("unix:"):
        return _unaccepted_unix(address.removeprefix("unix:"))
    if not address.startswith("tcp://"):
        return None
    port = int(address.rpartition(":")[2])
    table = _streams(None, "tcp6" if "[" in address else "tcp")
    return sum(each.received for each in table if each.state == _LISTEN and each.port == port)


def _unaccepted_unix(path: str) -> int:
    """A server's end that nobody has accepted has no inode yet, and the listener's path."""
    waiting = 0
    for line in read("/proc/net/unix").splitlines()[1:]:
        *_, inode, name = line.split(maxsplit=7)  # the name is missing where there is none
        waiting += inode == "0" and name == path
    return waiting


def probed_by_keepalive(port: int, client_ports: set[int], pid: int | None) -> int | None:
    """Of a server's connections to these ports, those with a keep-alive timer.

    Args:
        pid: a server that may see another network than this process; None: it sees the same.

    Returns None if the kernel lists none of the connections.
    """
    seen = [
        each.timer == _KEEPALIVE_TIMER
        for each in _streams(pid, "tcp", "tcp6")
        if each.port == port and each.peer_port in client_ports
    ]
    return sum(seen) if seen else None
