"""rfile and wfile: binary files on a request, with buffers that exist only while they hold bytes.

`io.BufferedReader` keeps 8 KiB for every client, idle or not, and puts two layers of Python calls
(`SocketIO`, `recv_into`) under each read. Here the bytes that were received and not yet read stay
with the request itself (`unread`, `unread_at`), so that `rfile.readline()` and `request.recv()`
see one stream, a parked client holds none, and a line costs one slice.

May be imported by anyone; imports nothing above it.
"""

from __future__ import annotations

import _socket
import io
from _socket import MSG_DONTWAIT
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

from greensock.files.socket_file import CLOSED as _CLOSED
from greensock.files.socket_file import SocketFile, set_sock

#: Bytes asked of the kernel at first. A `recv` allocates what it asks for: 4 KiB cost 0.6 us less
#: than 64 KiB, and most requests are smaller.
FIRST_READ_SIZE = 4096
#: Bytes asked for once a read came back full.
NEXT_READ_SIZE = 65536

_send: Callable[..., int] = _socket.socket.send


class Source(Protocol):
    """What SocketReader reads from: a request socket."""

    unread: bytes
    unread_at: int
    #: Bytes asked of it at first: of a message, all that are not taken are lost.
    read_size: int

    def receive(self, size: int, /) -> bytes: ...
    def fileno(self) -> int: ...


class SocketReader(SocketFile):
    """A readable binary file on a request: `io.BufferedReader`'s methods, without its buffer.

    Its reads block as the request's `recv` does, and raise what that raises; bytes received before
    an error are kept for the next read. Of a non-blocking request they give what is there, where
    that is nothing what `io.BufferedReader`'s give: None or b"". Closing it does not close the
    request.
    """

    __slots__ = ()

    mode = "rb"

    def __init__(self, sock: Source) -> None:
        set_sock(self, sock)

    @property
    def name(self) -> int:
        return self.fileno()

    def readable(self) -> bool:
        self._check_open()
        return True

    def close(self) -> None:
        sock = self._sock
        set_sock(self, _CLOSED)
        if sock is not _CLOSED:
            sock._decref_socketios()

    def __del__(self) -> None:
        # A closed request keeps its descriptor for the files that are still open on it. None is on
        # one yet where a signal's handler has raised amid its making.
        if getattr(self, "_sock", _CLOSED) is not _CLOSED:
            self.close()

    def __iter__(self) -> Iterator[bytes]:
        # Not self: a line then costs one call, and a client that waits for one less C stack.
        self._check_open()
        return iter(self.readline, b"")

    def __next__(self) -> bytes:
        line = self.readline()
        if not line:
            raise StopIteration
        return line

    def readline(self, size: int | None = -1, /) -> bytes:
        """One line with its newline; less at the end of the stream or once `size` bytes are in."""
        sock = self._sock
        data: bytes = sock.unread
        if not data and size != 0:
            # Received here, a line that comes whole costs three calls less.
            try:
                data = sock.unread = sock.receive(sock.read_size)
            except BlockingIOError:
                return b""
            sock.unread_at = 0
            if not data:
                return b""
        start: int = sock.unread_at
        end = data.find(b"\n", start) + 1
        if end and (size is None or size < 0 or end - start <= size):
            if end == len(data):
                sock.unread = b""
                sock.unread_at = 0
                return data[start:] if start else data
            sock.unread_at = end
            return data[start:end]
        return self._read_line_in_parts(sock, -1 if size is None else size)

    def _read_line_in_parts(self, sock: Source, size: int) -> bytes:
        parts: list[bytes] = []
        left = size
        try:
            while left:
                part = self._next_part(sock, left)
                if not part:
                    break
                end = part.find(b"\n") + 1
                if end:
                    self._put_back(sock, part[end:])
                    parts.append(part[:end])
                    break
                parts.append(part)
                left -= len(part)  # what is negative, no limit, stays so
        except BlockingIOError:
            pass
        except BaseException:
            self._put_back(sock, b"".join(parts))
            raise
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _next_part(self, sock: Source, at_most: int) -> bytes:
        """Unread bytes, or else new ones; at most `at_most` if that is not negative."""
        if not sock.unread:
            sock.unread = sock.receive(sock.read_size)
            sock.unread_at = 0
        return self._take(sock, at_most)

    @staticmethod
    def _take(sock: Source, at_most: int) -> bytes:
        data, start = sock.unread, sock.unread_at
        end = len(data)
        if at_most >= 0 and start + at_most < end:
            sock.unread_at = start + at_most
            return data[start : start + at_most]
        sock.unread = b""
        sock.unread_at = 0
        return data[start:] if start else data

    @staticmethod
    def _put_back(sock: Source, data: bytes) -> None:
        if data:
            sock.unread = data + sock.unread[sock.unread_at :]
            sock.unread_at = 0

    def readlines(self, hint: int | None = None, /) -> list[bytes]:
        lines = []
        total = 0
        for line in self:
            lines.append(line)
            total += len(line)
            if hint is not None and 0 < hint < total:
                break
        return lines

    def read(self, size: int | None = -1, /) -> bytes | None:
        """Exactly `size` bytes, fewer only at the stream's end; all up to that for -1 or None.

        None: of a non-blocking request, nothing is there.
        """
        sock = self._check_open()
        if size is None:
            size = -1
        elif size < -1:
            raise ValueError("read length must be non-negative or -1")
        parts: list[bytes] = []
        left = size
        try:
            while left:
                part = self._next_part(sock, left) if left < 0 else self._read_some(sock, left)
                if not part:
                    break
                parts.append(part)
                left -= len(part)  # what is negative, no limit, stays so
        except BlockingIOError:
            if not parts:
                return None
        except BaseException:
            self._put_back(sock, b"".join(parts))
            raise
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _read_some(self, sock: Source, at_most: int) -> bytes:
        """What is unread, or else one read: of the size still missing where that is large."""
        if not sock.unread and at_most >= sock.read_size:
            return sock.receive(min(at_most, NEXT_READ_SIZE * 4))
        return self._next_part(sock, at_most)

    def read1(self, size: int = -1, /) -> bytes:
        """What is unread, or else one read's worth; at most `size` bytes unless it is negative."""
        sock = self._check_open()
        if size == 0:
            return b""
        try:
            return self._next_part(sock, size)
        except BlockingIOError:
            return b""

    def peek(self, size: int = 0, /) -> bytes:
        """The unread bytes, after one read if there are none; they stay unread."""
        sock = self._check_open()
        if not sock.unread:
            try:
                sock.unread = sock.receive(sock.read_size)
            except BlockingIOError:
                return b""
            sock.unread_at = 0
        return bytes(sock.unread[sock.unread_at :])

    def readinto(self, buffer: Any, /) -> int | None:
        """Fill `buffer`; return how many bytes came before the end of the stream."""
        with memoryview(buffer).cast("B") as view:
            data = self.read(len(view))
            if data is None:
                return None
            view[: len(data)] = data
        return len(data)

    def readinto1(self, buffer: Any, /) -> int | None:
        """As `readinto`, with at most one read."""
        sock = self._check_open()
        with memoryview(buffer).cast("B") as view:
            if not view:
                return 0
            try:
                data = self._next_part(sock, len(view))
            except BlockingIOError:
                return None
            view[: len(data)] = data
        return len(data)

    def write(self, data: Any, /) -> int:
        self._check_open()
        raise io.UnsupportedOperation("not writable")

    def writelines(self, lines: Iterable[Any], /) -> None:
        self.write(b"")


class SocketWriter(SocketFile):
    """A writable binary file on a request that keeps nothing: what is written is sent at once."""

    __slots__ = ()

    def __init__(self, sock: Any) -> None:
        set_sock(self, sock)

    def writable(self) -> bool:
        self._check_open()
        return True

    def close(self) -> None:
        set_sock(self, _CLOSED)

    def write(self, data: Any, /) -> int:
        """Send all of `data`, a bytes-like object; return its size in bytes."""
        self._sock.sendall(data)
        if type(data) is bytes:
            return len(data)
        with memoryview(data) as view:
            return view.nbytes

    def writelines(self, lines: Iterable[Any], /) -> None:
        for line in lines:
            self.write(line)

    def read(self, size: int | None = -1, /) -> bytes:
        self._check_open()
        raise io.UnsupportedOperation("not readable")

    readline = read1 = read

    def __iter__(self) -> Iterator[bytes]:
        self.read()
        return iter(())


class RequestWriter(SocketWriter):
    """SocketWriter on a request socket: the kernel is asked first, without a call in between."""

    __slots__ = ()

    def write(self, data: Any, /) -> int:
        """Send all of `data`, a bytes-like object; return its size in bytes."""
        sock = self._sock
        if type(data) is not bytes or sock is _CLOSED:
            return SocketWriter.write(self, data)
        try:
            sent = _send(sock, data, MSG_DONTWAIT)
        except BlockingIOError:
            sent = 0
        size = len(data)
        if sent != size:
            sock.sendall(memoryview(data)[sent:])
        return size


# io's users ask isinstance; inheriting instead would cost every client a finalizer that calls
# close(), and a dictionary.
io.BufferedIOBase.register(SocketReader)
io.BufferedIOBase.register(SocketWriter)
