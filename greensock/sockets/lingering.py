"""The requests of request-wise handlers that run in native threads and children."""

from __future__ import annotations

import contextlib
import functools
import select
import struct
from _socket import MSG_DONTWAIT, MSG_WAITALL, SO_RCVTIMEO, SOL_SOCKET
from typing import Any

from gevent import monkey

from greensock.files.streams import SocketWriter
from greensock.hub.workers.demand import Demand
from greensock.noted import option_limits
from greensock.sockets.requests import (
    BESIDE_STREAM,
    SMALL_READ_SIZE,
    RequestSocket,
    c_socket,
    number_of,
    recv,
)


@functools.lru_cache(maxsize=16)
def _patience_and_limit(seconds: float) -> tuple[float, bytes]:
    """`seconds`, and what the kernel takes for it.

    Cached for the sake of the first: one float for all clients, where each idle one would keep the
    32 bytes of its own.
    """
    whole = int(seconds)
    return seconds, struct.pack("@ll", whole, int((seconds - whole) * 1_000_000))


@functools.lru_cache(maxsize=64)
def _poller(fd: int, demand: int) -> Any:
    """What polls two descriptors, or one and -1.

    Kept: to make one for each exchange costs 2 us. It knows numbers only, so that it does for the
    next client with the same ones too.
    """
    poller = monkey.get_original("select", "poll")()
    for each in (fd, demand):
        if each >= 0:
            poller.register(each, select.POLLIN)
    return poller


class LingeringSocket(RequestSocket):
    """A blocking request socket that can also wait for a short while for the next request.

    The kernel itself ends that wait (SO_RCVTIMEO): one `recv` waits and reads. A `poll` before it
    would be a second system call, and a second fight for the interpreter's lock, an exchange: with
    100 clients half as much again of what an echo costs. The handler's own calls are not to end so:
    they go on without the limit. And nobody is to meet it on the descriptor: whoever asks for its
    number is given one without, and `poll` it is from then on.
    """

    __slots__ = ("_patience",)

    #: The C level's own sendall, for one timeout: a send before it would wait for its own.
    writer_class = SocketWriter

    def __init__(
        self, family: int = -1, type: int = -1, proto: int = -1, fileno: int | None = None
    ) -> None:
        RequestSocket.__init__(self, family, type, proto, fileno)
        #: Seconds after which the kernel ends a `recv`; 0 is never, None never again.
        self._patience: float | None = 0.0

    def receive_within(self, seconds: float | None, demand: Demand | None = None) -> bytes | None:
        """New bytes, b"" at the end of the stream, or None after `seconds` of silence.

        Without `seconds` there is no limit. With a `demand`, also None at once if nothing is there
        and other clients wait.
        """
        patience = self._patience
        is_bounded = demand is not None or self.timeout is not None or patience is None
        if seconds is None or seconds <= 0 or is_bounded:
            return self._poll_within(seconds, demand)
        if seconds != patience:
            self._set_patience(seconds)
        try:
            return recv(self, SMALL_READ_SIZE)
        except BlockingIOError:
            return None

    def _poll_within(self, seconds: float | None, demand: Demand | None) -> bytes | None:
        # With a timeout of the handler's, `recv` would wait for it whatever its flags say.
        if not self.await_bytes(seconds, demand):
            return None
        try:
            return recv(self, SMALL_READ_SIZE, MSG_DONTWAIT)
        except (BlockingIOError, TimeoutError):
            return None

    def await_bytes(self, seconds: float | None, demand: Demand | None) -> bool:
        """Wait until there is something to read; False after `seconds`, or if others wait."""
        fd, demand_fd = number_of(self), -1 if demand is None else demand.fileno()
        timeout = None if seconds is None else round(max(seconds, 0.0) * 1000)
        try:
            ready = _poller(fd, demand_fd).poll(timeout)
        except RuntimeError:
            # Another thread still waits for a client who had this number, and was closed meanwhile.
            ready = _poller.__wrapped__(fd, demand_fd).poll(timeout)
        return fd in dict(ready)

    def end_lingering(self) -> None:
        """The wait is over, and with it the limit: others will have the descriptor."""
        if self._patience:
            # The handler may have closed it.
            with contextlib.suppress(OSError):
                self._set_patience(0.0)

    def _set_patience(self, seconds: float) -> None:
        self._patience, limit = _patience_and_limit(seconds)
        c_socket.setsockopt(self, SOL_SOCKET, SO_RCVTIMEO, limit)

    def _stop_patience(self) -> None:
        """The program may see the descriptor, or set the same on it, from now on."""
        self.end_lingering()
        self._patience = None

    def receive(self, size: int, /) -> bytes:
        self.unread_at = 0
        try:
            return recv(self, size)
        except BlockingIOError:
            if not self._patience or self.timeout == 0.0:
                raise
        self._set_patience(0.0)
        return recv(self, size)

    def _receive_with(self, method: str, *args: Any) -> Any:
        call = getattr(c_socket, method)
        flags = args[-1]
        self._note_receiving(flags)
        if flags & MSG_WAITALL:
            # With the limit, the kernel gives what came in that time.
            self.end_lingering()
        try:
            return call(self, *args)
        except BlockingIOError:
            ours = self._patience and self.timeout != 0.0
            if not ours or flags & (MSG_DONTWAIT | BESIDE_STREAM):
                raise
        self._set_patience(0.0)
        return call(self, *args)

    def fileno(self) -> int:
        if self._patience is not None and number_of(self) >= 0:
            self._stop_patience()
        return number_of(self)

    def setsockopt(self, level: Any, option: Any, *value: Any) -> None:
        if option_limits.is_limit(level, option):
            self._stop_patience()
        RequestSocket.setsockopt(self, level, option, *value)

    def getsockopt(self, level: Any, option: Any, *size: Any) -> Any:
        if option_limits.is_limit(level, option):
            self.end_lingering()
        return c_socket.getsockopt(self, level, option, *size)

    def detach(self) -> int:
        self.end_lingering()
        return RequestSocket.detach(self)
