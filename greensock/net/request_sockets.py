"""The sockets that handlers get: real `socket.socket` objects that keep what was received unread.

`cooperative_sockets` has those whose calls block one greenlet, `lingering_sockets` those whose
calls block a thread or child.
"""

from __future__ import annotations

import io
import os
import socket as _stdlib_socket
from collections.abc import Callable
from socket import MSG_DONTWAIT, MSG_PEEK, MSG_WAITALL
from typing import TYPE_CHECKING, Any

from gevent import monkey

from greensock.hub.waiting import READ, new_watcher
from greensock.streams import BufferedSocketWriter, SocketReader

if TYPE_CHECKING:
    from socket import socket as OriginalSocket
else:
    #: The standard library's class, also where `socket.socket` names gevent's.
    OriginalSocket = monkey.get_original("socket", "socket")

#: The C class below the Python one. Its methods are called by name: `super()` costs 0.1 us, and is
#: wrong beside the `__class__` property below.
c_socket: Any = OriginalSocket.__mro__[1]
_init = c_socket.__init__
#: `recv` of any socket, below every override.
recv: Callable[..., bytes] = c_socket.recv

__all__ = ["CloseGate", "OriginalSocket", "RequestSocket", "c_socket", "is_request_socket", "recv"]

#: What is told that a request under the lot's care is closed, and whether that may be done at once.
CloseGate = Callable[[Any], bool]


class RequestSocket(OriginalSocket):
    """A request socket that can be parked.

    It differs from a plain socket in two points: bytes that were received for the reader and not
    yet read (`unread` from `unread_at` on) come first out of every receiving call, and a request
    that is parked closes only after its watcher was stopped.
    """

    __slots__ = ("close_gate", "unread", "unread_at")

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        # So that isinstance(request, socket.socket) holds in a patched process too, where that
        # name means gevent's class, which cannot be inherited from beside the original.
        return _stdlib_socket.socket

    def __init__(
        self, family: int = -1, type: int = -1, proto: int = -1, fileno: int | None = None
    ) -> None:
        if fileno is None:
            family = _stdlib_socket.AF_INET if family == -1 else family
            type = _stdlib_socket.SOCK_STREAM if type == -1 else type
            proto = 0 if proto == -1 else proto
        _init(self, family, type, proto, fileno)
        self._io_refs = 0
        self._closed = False
        self.unread = b""
        self.unread_at = 0
        self.close_gate: CloseGate | None = None

    def receive(self, size: int, /) -> bytes:
        """New bytes from the peer, whatever is unread: for readers that have used that up."""
        return recv(self, size)

    def peek_now(self) -> bytes | None:
        """A byte that can be read now, b"" at the end of the stream, None if there is neither yet.

        Raises:
            OSError: the connection is broken.
        """
        if self.unread:
            return self.unread[self.unread_at : self.unread_at + 1]
        try:
            return recv(self, 1, MSG_PEEK | MSG_DONTWAIT)
        except BlockingIOError:
            return None

    def read_watcher(self) -> Any:
        """A watcher of this request for the lot, which closes it before the request closes."""
        return new_watcher(self.fileno(), READ)

    def forget_read_watcher(self) -> None:
        """The lot has closed the watcher that `read_watcher` gave it."""

    def _take_unread(self, size: int, flags: int) -> bytes:
        if size < 0:
            raise ValueError("negative buffersize in recv")
        start = self.unread_at
        data = self.unread[start : start + size]
        if flags & MSG_PEEK:
            return data
        if start + len(data) == len(self.unread):
            self.unread = b""
            self.unread_at = 0
        else:
            self.unread_at = start + len(data)
        if flags & MSG_WAITALL and 0 < len(data) < size:
            data += self.recv(size - len(data), flags)
        return data

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        if self.unread and bufsize:
            return self._take_unread(bufsize, flags)
        return self._receive_with("recv", bufsize, flags)  # type: ignore[no-any-return]

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        if self.unread:
            with memoryview(buffer).cast("B") as view:
                data = self._take_unread(nbytes or len(view), flags)
                view[: len(data)] = data
            return len(data)
        return self._receive_with("recv_into", buffer, nbytes, flags)  # type: ignore[no-any-return]

    def recvfrom(self, bufsize: int, flags: int = 0, /) -> tuple[bytes, Any]:
        if self.unread:
            return self._take_unread(bufsize, flags), None
        return self._receive_with("recvfrom", bufsize, flags)  # type: ignore[no-any-return]

    def recvfrom_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> tuple[int, Any]:
        if self.unread:
            return self.recv_into(buffer, nbytes, flags), None
        return self._receive_with("recvfrom_into", buffer, nbytes, flags)  # type: ignore[no-any-return]

    def recvmsg(self, bufsize: int, ancbufsize: int = 0, flags: int = 0, /) -> Any:
        if self.unread:
            return self._take_unread(bufsize, flags), [], 0, None
        return self._receive_with("recvmsg", bufsize, ancbufsize, flags)

    def recvmsg_into(self, buffers: Any, ancbufsize: int = 0, flags: int = 0, /) -> Any:
        if self.unread:
            buffers = list(buffers)
            return self.recv_into(buffers[0], 0, flags), [], 0, None
        return self._receive_with("recvmsg_into", buffers, ancbufsize, flags)

    def _receive_with(self, method: str, *args: Any) -> Any:
        return getattr(c_socket, method)(self, *args)

    def new_reader(self) -> SocketReader:
        """What `makefile("rb")` gives, for handlers: sooner."""
        self._io_refs += 1
        return SocketReader(self)

    def makefile(
        self,
        mode: str = "r",
        buffering: int | None = None,
        *,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> Any:
        """A file on this request; reading and writing ones share its unread bytes with `recv`.

        Differs from socketserver: (from `socket.makefile`) buffered files that only read or only
        write have no raw file below them, and a reader's `buffering` does not set a size.
        """
        kinds = set(mode)
        if buffering == 0 or not kinds <= {"r", "w", "b"} or {"r", "w"} <= kinds:
            return OriginalSocket.makefile(
                self,
                mode,  # type: ignore[call-overload]
                buffering,
                encoding=encoding,
                errors=errors,
                newline=newline,
            )
        stream: Any
        if "w" in kinds:
            sized = buffering is not None and buffering > 0
            stream = BufferedSocketWriter(self, buffering if sized else io.DEFAULT_BUFFER_SIZE)  # type: ignore[arg-type]
            self._io_refs += 1
        else:
            stream = self.new_reader()
        return stream if "b" in kinds else io.TextIOWrapper(stream, encoding, errors, newline)

    def disown_files(self) -> None:
        """Let the next close() close, whatever files are open: they are used in another process."""
        self._io_refs = 0

    def dup(self) -> Any:
        fd = os.dup(self.fileno())
        copy = type(self)(self.family, self.type, self.proto, fileno=fd)
        copy.settimeout(self.gettimeout())
        return copy

    def detach(self) -> int:
        if self.close_gate is not None:
            self.close_gate(self)
        return OriginalSocket.detach(self)

    def _real_close(self, *args: Any) -> None:
        if self.close_gate is None or self.close_gate(self):
            c_socket.close(self)


def is_request_socket(request: Any) -> bool:
    """Whether `request` is one of these, which alone the lot can hold."""
    return issubclass(type(request), RequestSocket)
