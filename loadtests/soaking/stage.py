"""Where clients and faults meet the servers: who is there, for how long, and what is counted."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from greensock.processes.seen import ServerView
from loadtests.soaking import counting
from loadtests.soaking.certificates import NAME, Certificates
from loadtests.soaking.counting import Count, CountedSocket

#: Seconds without an answer after which a client says that the server hangs. Far above any delay
#: that the faults make on purpose.
PATIENCE = 20.0


@dataclass(frozen=True, slots=True)
class Tls:
    """What is needed to speak TLS with a server: the clients' context, and the server's file."""

    context: ssl.SSLContext
    certificates: Certificates
    path: Path


@dataclass
class Stage:
    """The servers of a mixin by kind, for one client or one fault, which has the `count` to itself.

    `over` is set when it is time to leave.
    """

    addresses: Mapping[str, Any]
    views: Mapping[str, ServerView]
    over: threading.Event
    tls: Tls | None = None
    count: Count = field(default_factory=Count)

    def connect(self, kind: str, patience: float | None = None) -> CountedSocket:
        """A connection to one of the servers; whatever waits on it does so for `patience` seconds.

        Args:
            patience: None is PATIENCE.

        Raises:
            OSError: there is none.
        """
        patience = PATIENCE if patience is None else patience
        return counting.connect(self.count, kind, self.addresses[kind], patience)

    def shake_hands(self, plain: CountedSocket, **options: Any) -> ssl.SSLSocket:
        """A TLS session on a connection to the TLS server, which is closed if there is none.

        Raises:
            OSError: there is none.
        """
        assert self.tls is not None
        with plain:
            return self.tls.context.wrap_socket(plain, server_hostname=NAME, **options)

    def spoil(self, kind: str) -> None:
        """Count a client who makes no handshake, if that server waits for one."""
        if kind == "tls":
            self.count.spoiled[kind] = self.count.spoiled.get(kind, 0) + 1
