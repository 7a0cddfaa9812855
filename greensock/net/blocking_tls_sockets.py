"""TLS requests for native threads and children.

OpenSSL never blocks here either: a thread waits in `poll`, outside of it and its lock. That lets
another thread write to a client whose own thread waits for its next line.
"""

from __future__ import annotations

import select

from gevent import monkey

from greensock.hub.crowd import Crowd
from greensock.hub.waiting import check_open, poll
from greensock.net.request_sockets import number_of
from greensock.net.tls_sockets import TlsSocket


class BlockingTlsSocket(TlsSocket):
    """A TLS request whose calls block the calling thread, whether that has a hub or not."""

    __slots__ = ()

    def _wait(self, events: int, seconds: float | None) -> None:
        fd = number_of(self)
        check_open(fd)
        if not poll(fd, events, seconds):
            raise TimeoutError("timed out")

    def _await_bytes(self, seconds: float | None, crowd: Crowd | None) -> bool:
        poller = monkey.get_original("select", "poll")()
        poller.register(number_of(self), select.POLLIN)
        if crowd is not None:
            poller.register(crowd.fileno(), select.POLLIN)
        timeout = None if seconds is None else max(seconds, 0.0) * 1000
        return number_of(self) in dict(poller.poll(timeout))
