"""The ends of TLS sessions whose clients leave the kernel no room for a last word.

close_notify is 24 bytes that the kernel takes at once, unless the client has not read what it was
sent: then its buffer may be full. Without it, the client cannot tell this end from a truncation.
Nobody is kept waiting for it: the socket stays open with a watcher and a timer, and no more.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from socket import SHUT_WR
from ssl import SSLWantWriteError
from typing import Any

from gevent.exceptions import BlockingSwitchOutError

from greensock.hub.waiting import WRITE, new_timer, new_watcher
from greensock.sockets.requests import c_socket


class Farewells:
    """Sessions that are over but for close_notify; of one hub at a time, in its thread only."""

    def __init__(self) -> None:
        self._pending: dict[Any, tuple[Any, Any, Callable[[], Any]]] = {}

    def begin(self, request: Any, seconds: float, on_end: Callable[[], Any]) -> None:
        """Send close_notify of `request` once the kernel takes it; then close it if somebody has.

        After `seconds` it ends without. `on_end` is called in the hub, and must not block.
        """
        watcher = new_watcher(request.fileno(), WRITE)
        timer = new_timer(seconds)
        request.is_seen_off = True
        self._pending[request] = (watcher, timer, on_end)
        watcher.start(self._on_writable, request)
        timer.start(self._end, request)

    def _on_writable(self, request: Any) -> None:
        try:
            request.shut_session_down()
        except (SSLWantWriteError, BlockingSwitchOutError):
            # The latter: another thread has the session just now.
            return
        except OSError:
            # It is sent, and there is no answer; or the client is not there any more.
            pass
        self._end(request)

    def _end(self, request: Any) -> None:
        watcher, timer, on_end = self._pending.pop(request)
        for each in (watcher, timer):
            each.stop()
            each.close()
        request.is_seen_off = False
        if request._closed:
            request.close_now()
        else:
            with contextlib.suppress(OSError):
                c_socket.shutdown(request, SHUT_WR)
        on_end()

    def stay_behind(self) -> list[Any]:
        """In a child: leave all to the parent; return the requests, whose descriptors are open."""
        left, self._pending = self._pending, {}
        for watcher, timer, _ in left.values():
            for each in (watcher, timer):
                each.stop()
                each.close()
        return list(left)

    def close(self) -> None:
        """End all now, without."""
        for request in list(self._pending):
            self._end(request)
