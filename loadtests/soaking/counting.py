"""What the clients of a soak count, for the servers' own counts to be compared with."""

from __future__ import annotations

import dataclasses
import socket
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Count:
    """What clients went through.

    `wrong` and `hung` are faults of the server at any time; `broken`, a connection that it ended in
    the middle, only where nobody has killed its children, taken its descriptors or drained it.

    By kind of server: `opened` connections, `sent` bytes without those over TLS, and `spoiled`
    handshakes, each of which the server has to count as failed.
    """

    answered: int = 0
    wrong: list[str] = field(default_factory=list)
    hung: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    lost_datagrams: int = 0
    resumed: int = 0
    opened: dict[str, int] = field(default_factory=dict)
    sent: dict[str, int] = field(default_factory=dict)
    spoiled: dict[str, int] = field(default_factory=dict)

    def add(self, other: Count) -> None:
        """Count all that another has."""
        for each in dataclasses.fields(self):
            mine, more = getattr(self, each.name), getattr(other, each.name)
            if isinstance(mine, dict):
                for kind, number in more.items():
                    mine[kind] = mine.get(kind, 0) + number
            else:
                setattr(self, each.name, mine + more)


class CountedSocket(socket.socket):
    """A client's socket, which counts that it is connected and what it sends."""

    def __init__(self, count: Count, kind: str) -> None:
        super().__init__()
        self._count = count
        self._kind = kind

    def connect(self, address: Any, /) -> None:
        super().connect(address)
        opened = self._count.opened
        opened[self._kind] = opened.get(self._kind, 0) + 1

    def sendall(self, data: Any, flags: int = 0, /) -> None:
        super().sendall(data, flags)
        sent = self._count.sent
        sent[self._kind] = sent.get(self._kind, 0) + len(data)


def connect(count: Count, kind: str, address: Any, patience: float) -> CountedSocket:
    """A connection to the server of this kind.

    Raises:
        OSError: there is none, or (TimeoutError) not within `patience` seconds.
    """
    sock = CountedSocket(count, kind)
    try:
        sock.settimeout(patience)
        sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return sock
