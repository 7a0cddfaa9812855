"""TLS requests for native threads and children.

OpenSSL never blocks here either: a thread waits in `poll`, outside of it. That lets another thread
write to a client whose own thread waits for its next line. What must not overlap are the calls into
OpenSSL, which give up the interpreter's lock: CPython's own SSLSocket of 3.11 lets them.
"""

from __future__ import annotations

import _thread
import os
import select
from typing import Any

from gevent import monkey

from greensock.hub.crowd import Crowd
from greensock.net.tls_sockets import TlsSocket

# One lock for each of thousands of clients would be most of what they cost beside OpenSSL; a call
# holds its lock for microseconds. Arbitrary: far more than threads that run at once.
_LOCKS = 64
_locks: list[Any] = [_thread.RLock() for _ in range(_LOCKS)]


def _acquire_all() -> None:
    # At a fork, no thread is to be in OpenSSL: it would hold locks of its for ever in the child.
    # That is 3 us.
    for lock in _locks:
        lock.acquire()


def _release_all() -> None:
    for lock in _locks:
        lock.release()


os.register_at_fork(before=_acquire_all, after_in_parent=_release_all, after_in_child=_release_all)


class BlockingTlsSocket(TlsSocket):
    """A TLS request whose calls block the calling thread, and that several threads may share."""

    __slots__ = ()

    def _lock(self) -> Any:
        # Addresses of objects of this size are multiples of 16.
        return _locks[id(self) // 16 % _LOCKS]

    def _shake_hands(self) -> None:
        with self._lock():
            TlsSocket._shake_hands(self)

    def _decrypt(self, size: int) -> bytes:
        with self._lock():
            return TlsSocket._decrypt(self, size)

    def _encrypt(self, data: Any) -> int:
        with self._lock():
            return TlsSocket._encrypt(self, data)

    def _shut_down(self) -> Any:
        with self._lock():
            return TlsSocket._shut_down(self)

    def wait_readable(self) -> None:
        self._poll(select.POLLIN)

    def wait_writable(self) -> None:
        self._poll(select.POLLOUT)

    def _poll(self, events: int) -> None:
        poller = monkey.get_original("select", "poll")()
        poller.register(self.fileno(), events)
        if not poller.poll(None if self.timeout is None else self.timeout * 1000):
            raise TimeoutError("timed out")

    def _await_bytes(self, seconds: float | None, crowd: Crowd | None) -> bool:
        poller = monkey.get_original("select", "poll")()
        poller.register(self.fileno(), select.POLLIN)
        if crowd is not None:
            poller.register(crowd.fileno(), select.POLLIN)
        timeout = None if seconds is None else max(seconds, 0.0) * 1000
        return self.fileno() in dict(poller.poll(timeout))
