"""Requests of Unix sockets, whose bytes may come with descriptors or credentials.

The kernel drops those where the bytes are received by other means than `recvmsg`. What the server
receives ahead, for its handlers, so keeps them with the bytes.
"""

from __future__ import annotations

import array
import contextlib
import socket as _stdlib_socket
from _socket import MSG_CTRUNC, MSG_DONTWAIT, MSG_PEEK
from collections.abc import Callable
from typing import Any

from gevent import monkey

from greensock.hub.workers.demand import Demand
from greensock.sockets.cooperative import CooperativeSocket
from greensock.sockets.lingering import LingeringSocket
from greensock.sockets.requests import RequestSocket, c_socket, is_readable, number_of

# Linux passes at most 253 descriptors with a message, and credentials of 12 bytes beside.
_ROOM = _stdlib_socket.CMSG_SPACE(253 * 4) + 4 * _stdlib_socket.CMSG_SPACE(12)

_recvmsg: Callable[..., Any] = c_socket.recvmsg


class KeepsAncillary:
    """The part of a Unix request that keeps what came beside its unread bytes."""

    __slots__ = ()

    #: What `recvmsg` gave, or an empty tuple.
    ancillary: Any

    def receive_now(self: Any, size: int, flags: int = MSG_DONTWAIT) -> bytes | None:
        if flags & MSG_PEEK:
            return RequestSocket.receive_now(self, size, flags)
        if self.ancillary and not self.unread:
            # The bytes that it came with were taken without it.
            self.drop_ancillary()
        if c_socket.gettimeout(self) and not is_readable(number_of(self)):
            return None
        try:
            data, ancillary, _, _ = _recvmsg(self, size, _ROOM, flags)
        except BlockingIOError:
            return None
        if ancillary:
            self.ancillary = (*self.ancillary, *ancillary)
        return data  # type: ignore[no-any-return]

    def recvmsg(self: Any, bufsize: int, ancbufsize: int = 0, flags: int = 0, /) -> Any:
        data, found, said, address = RequestSocket.recvmsg(self, bufsize, ancbufsize, flags)
        if self.ancillary and not flags & MSG_PEEK:
            if ancbufsize:
                found, self.ancillary = list(self.ancillary), ()
            else:
                self.drop_ancillary()
                said |= MSG_CTRUNC
        return data, found, said, address

    def drop_ancillary(self: Any) -> None:
        """Close the descriptors that nobody has asked for."""
        ancillary, self.ancillary = self.ancillary, ()
        close = monkey.get_original("os", "close")
        for level, kind, data in ancillary:
            if (level, kind) == (_stdlib_socket.SOL_SOCKET, _stdlib_socket.SCM_RIGHTS):
                for fd in array.array("i", data[: len(data) // 4 * 4]):
                    with contextlib.suppress(OSError):
                        close(fd)

    def forget_unread(self: Any) -> None:
        RequestSocket.forget_unread(self)
        self.drop_ancillary()


class LocalSocket(KeepsAncillary, CooperativeSocket):
    """A cooperative request of a Unix socket."""

    __slots__ = ("ancillary",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        CooperativeSocket.__init__(self, *args, **kwargs)
        self.ancillary = ()

    def receive_now(self, size: int, flags: int = MSG_DONTWAIT) -> bytes | None:
        self.reads_left = 0
        return KeepsAncillary.receive_now(self, size, flags)

    def detach(self) -> int:
        self.drop_ancillary()
        return CooperativeSocket.detach(self)

    def _real_close(self, *args: Any) -> None:
        self.drop_ancillary()
        CooperativeSocket._real_close(self)


class LingeringLocalSocket(KeepsAncillary, LingeringSocket):
    """A request of a Unix socket for threads and children."""

    __slots__ = ("ancillary",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        LingeringSocket.__init__(self, *args, **kwargs)
        self.ancillary = ()

    def receive_within(self, seconds: float | None, demand: Demand | None = None) -> bytes | None:
        return self.read_now() if self.await_bytes(seconds, demand) else None

    def detach(self) -> int:
        self.drop_ancillary()
        return LingeringSocket.detach(self)

    def _real_close(self, *args: Any) -> None:
        self.drop_ancillary()
        LingeringSocket._real_close(self)
