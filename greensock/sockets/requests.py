"""The sockets that handlers get: real `socket.socket` objects that keep what was received unread.

`sockets.cooperative` has those whose calls block one greenlet, `sockets.lingering` those whose
calls block a thread or child.

The flags come from `_socket`, where they are integers. Those of `socket` are members of an enum,
and `flags | MSG_DONTWAIT` costs 1.2 us there: 4 % of a request to http.server.
"""

from __future__ import annotations

import contextlib
import io
import os
import select
import socket as _stdlib_socket
import sys
from _socket import MSG_DONTWAIT, MSG_OOB, MSG_PEEK, MSG_WAITALL, SOL_SOCKET
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from gevent import monkey

from greensock.files.buffered_writers import BufferedSocketWriter
from greensock.files.framing import IsComplete
from greensock.files.streams import (
    FIRST_READ_SIZE,
    NEXT_READ_SIZE,
    RequestWriter,
    SocketReader,
    SocketWriter,
)
from greensock.lot.lot import heed_limits, may_be_closed
from greensock.noted import option_limits

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
#: The descriptor's number, for the server: a request may note that the program has asked for it.
number_of: Callable[[Any], int] = c_socket.fileno
_set_option: Callable[..., None] = c_socket.setsockopt
_timeout: Callable[[Any], float | None] = c_socket.gettimeout

#: Bytes of which a read costs least: with its header that makes 512, the most that Python allocates
#: itself. Asked for 4 KiB, the C library costs an echo of lines 5 %. In threads it gives each an
#: arena of its own to take them from, and keeps that: 70 bytes for each of 5,000 clients who were
#: served by some thirty threads.
SMALL_READ_SIZE = 512 - 33

#: Requests whose unread bytes their handler has left untouched: it is called again once there are
#: more of them.
untaken: set[Any] = set()

#: `unread_at` where nothing is unread: a mark that whatever receives takes away.
UNTOUCHED = -1

#: What is received with these is none of the stream: an urgent byte, a report of the kernel's.
#: Nothing is waited for.
BESIDE_STREAM = MSG_OOB | _stdlib_socket.MSG_ERRQUEUE

__all__ = [
    "BESIDE_STREAM",
    "SMALL_READ_SIZE",
    "UNTOUCHED",
    "OriginalSocket",
    "RequestSocket",
    "c_socket",
    "is_readable",
    "is_request_socket",
    "number_of",
    "recv",
    "untaken",
]


def is_readable(fd: int) -> bool:
    poller = monkey.get_original("select", "poll")()
    poller.register(fd, select.POLLIN)
    return bool(poller.poll(0))


class RequestSocket(OriginalSocket):
    """A request socket that can be parked.

    It differs from a plain socket in two points: bytes that were received for the reader and not
    yet read (`unread` from `unread_at` on) come first out of every receiving call, and a request
    that the lot has closes only after it was taken out of the lot's set.
    """

    __slots__ = ("unread", "unread_at")

    #: What writes to it without a buffer, for handlers.
    writer_class: type[SocketWriter] = RequestWriter
    read_size = FIRST_READ_SIZE
    #: Whether it is a row of messages: what is not received of one at once is lost.
    has_messages = False
    #: Bytes that were taken from the program, and wait for the client to read.
    unsent: bytes | None = None

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

    def receive(self, size: int, /) -> bytes:
        """New bytes from the peer, whatever is unread: for readers that have used that up."""
        self.unread_at = 0
        return recv(self, size)

    def receive_until(self, is_complete: IsComplete) -> bool:
        """Receive until `is_complete` of what is unread; say whether it is, or no more will come.

        False: the rest has not come yet. Nothing is waited for.

        Raises:
            OSError: the connection is broken.
        """
        if self.unread:
            if is_complete(self.unread, self.unread_at):
                return True
            self.unread = self.unread[self.unread_at :]
            self.unread_at = 0
        size = FIRST_READ_SIZE
        while True:
            data = self.receive_now(size)
            if not data:
                return data is not None
            self.unread += data
            if is_complete(self.unread, 0):
                return True
            if len(data) < size:
                return False
            size = NEXT_READ_SIZE

    def receive_now(self, size: int, flags: int = MSG_DONTWAIT) -> bytes | None:
        """New bytes, b"" at the end of the stream, None if there is neither yet.

        Raises:
            OSError: the connection is broken.
        """
        # With a timeout of the program's, the C level waits for that long, whatever the flags say.
        if _timeout(self) and not is_readable(number_of(self)):
            return None
        try:
            return recv(self, size, flags)
        except BlockingIOError:
            return None

    def read_now(self) -> bytes | None:
        """What can be read now; b"" at the end of the stream, None if there is neither yet.

        Raises:
            OSError: the connection is broken.
        """
        return self.receive_now(self.read_size)

    def forget_unread(self) -> None:
        """Drop what is unread: somebody else has it."""
        self.unread = b""
        self.unread_at = 0

    def end_lingering(self) -> None:
        """A turn that has waited for more in a thread or child is over."""

    def peek_now(self) -> bytes | None:
        """A byte that can be read now, b"" at the end of the stream, None if there is neither yet.

        Raises:
            OSError: the connection is broken.
        """
        if self.unread:
            return self.unread[self.unread_at : self.unread_at + 1]
        return self.receive_now(1, MSG_PEEK | MSG_DONTWAIT)

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
        if flags & MSG_WAITALL and 0 < len(data) < size and self.gettimeout() is None:
            # As from the kernel: of an error that comes after some bytes, the next call tells.
            with contextlib.suppress(OSError):
                data += self.recv(size - len(data), flags)
        return data

    def _has_unread_for(self, flags: int) -> bool:
        return bool(self.unread) and not flags & BESIDE_STREAM

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        if self.unread and bufsize and not flags & BESIDE_STREAM:
            return self._take_unread(bufsize, flags)
        return self._receive_with("recv", bufsize, flags)  # type: ignore[no-any-return]

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        if self._has_unread_for(flags):
            with memoryview(buffer).cast("B") as view:
                if nbytes > len(view):
                    raise ValueError("buffer too small for requested bytes")
                data = self._take_unread(nbytes or len(view), flags)
                view[: len(data)] = data
            return len(data)
        return self._receive_with("recv_into", buffer, nbytes, flags)  # type: ignore[no-any-return]

    def recvfrom(self, bufsize: int, flags: int = 0, /) -> tuple[bytes, Any]:
        if self._has_unread_for(flags):
            return self._take_unread(bufsize, flags), None
        return self._receive_with("recvfrom", bufsize, flags)  # type: ignore[no-any-return]

    def recvfrom_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> tuple[int, Any]:
        if self._has_unread_for(flags):
            return self.recv_into(buffer, nbytes, flags), None
        return self._receive_with("recvfrom_into", buffer, nbytes, flags)  # type: ignore[no-any-return]

    def recvmsg(self, bufsize: int, ancbufsize: int = 0, flags: int = 0, /) -> Any:
        if self._has_unread_for(flags):
            return self._take_unread(bufsize, flags), [], 0, None
        return self._receive_with("recvmsg", bufsize, ancbufsize, flags)

    def recvmsg_into(self, buffers: Any, ancbufsize: int = 0, flags: int = 0, /) -> Any:
        if self._has_unread_for(flags):
            views = [memoryview(buffer).cast("B") for buffer in buffers]
            data, *others = self.recvmsg(sum(map(len, views)), ancbufsize, flags)
            scatter(data, views)
            return len(data), *others
        return self._receive_with("recvmsg_into", buffers, ancbufsize, flags)

    def _receive_with(self, method: str, *args: Any) -> Any:
        self._note_receiving(args[-1])
        return getattr(c_socket, method)(self, *args)

    def _note_receiving(self, flags: int) -> None:
        """The handler receives something itself; see UNTOUCHED."""
        if self.unread_at < 0 and not flags & MSG_PEEK:
            self.unread_at = 0

    def setsockopt(self, level: Any, option: Any, *value: Any) -> None:
        _set_option(self, level, option, *value)
        # Before a call: of a handler's own options, it is seldom this level's.
        if level == SOL_SOCKET and option_limits.is_limit(level, option):
            note_limits(self)

    def send_in_parts(self, data: bytes) -> Iterator[int]:
        """Send all of `data`, and give the size of each part that has left for good.

        As a raw file's writes would: a timeout is one for each part.
        """
        with memoryview(data) as view:
            sent = 0
            while sent < len(view):
                size = self.send(view[sent:])
                sent += size
                yield size

    def new_reader(self, kind: type[SocketReader] = SocketReader) -> SocketReader:
        """What `makefile("rb")` gives, for handlers: sooner, and of a `kind` that they choose."""
        self._io_refs += 1
        return kind(self)

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
        if self in option_limits.limits:
            note_limits(copy)
        return copy

    def __reduce_ex__(self, protocol: Any) -> Any:
        """For `multiprocessing`, which hands sockets to other processes: there it is a plain one.

        Raises:
            TypeError: the process has no `multiprocessing`; nobody else can hand one over.
        """
        # That asks by the type, and knows none of ours; nor is it to be imported for that here.
        reduction: Any = sys.modules.get("multiprocessing.reduction")
        if reduction is None:
            raise TypeError(f"cannot pickle {type(self).__name__!r} object")
        parts = reduction.DupFd(self.fileno()), int(self.family), int(self.type), self.proto
        return _rebuild, (*parts, self.unread[self.unread_at :])

    def detach(self) -> int:
        may_be_closed(self)  # if it is parked, its lot lets go of it
        forget(self)
        return OriginalSocket.detach(self)

    def _real_close(self, *args: Any) -> None:
        if may_be_closed(self):
            if option_limits.limits or untaken:
                forget(self)
            c_socket.close(self)


def note_limits(request: RequestSocket) -> None:
    """Take over the time limits that a request has as socket options."""
    option_limits.note(request)
    heed_limits()


def forget(request: RequestSocket) -> None:
    """Forget what is kept of a few requests beside them: it is closed."""
    option_limits.forget(request)
    untaken.discard(request)


def scatter(data: bytes, views: Iterable[memoryview]) -> None:
    """Fill each of `views` in turn with what is left of `data`."""
    for view in views:
        part = data[: len(view)]
        view[: len(part)] = part
        data = data[len(part) :]


def _rebuild(duplicate: Any, family: int, kind: int, proto: int, unread: bytes) -> Any:
    """In another process: the request that was handed over."""
    if not unread:
        return _stdlib_socket.socket(family, kind, proto, fileno=duplicate.detach())
    request = RequestSocket(family, kind, proto, fileno=duplicate.detach())
    request.unread = unread
    return request


def is_request_socket(request: Any) -> bool:
    """Whether `request` is one of these, which alone the lot can hold."""
    return issubclass(type(request), RequestSocket)
