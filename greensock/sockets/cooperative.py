"""The requests of handlers that run on the hub.

Facts (measured): a gevent socket makes two watchers whether it needs them or not (11 us and 297
bytes, against 7 us and 104 bytes of a plain one), is no instance of `socket.socket` in an unpatched
process, belongs to the hub that made it for ever, and sets O_NONBLOCK on a description that
children share. `MSG_DONTWAIT` asks for the same for one call: no flag to set, nothing shared
changes, and the very same descriptor can be handed to a thread or a child that blocks.
"""

from __future__ import annotations

import contextlib
import os
import stat
from _socket import MSG_DONTWAIT, MSG_WAITALL
from collections.abc import Callable
from time import monotonic
from typing import Any

from greensock.files.streams import FIRST_READ_SIZE, NEXT_READ_SIZE
from greensock.hub.waiting import READ, WRITE, new_watcher, pause, wait
from greensock.hub.workers.demand import Demand
from greensock.noted import option_limits
from greensock.noted.option_limits import limits
from greensock.sockets.requests import BESIDE_STREAM, RequestSocket, c_socket, recv
from greensock.sockets.waiting import WaitingSocket, would_block

_send: Callable[..., int] = c_socket.send
_sendto: Callable[..., int] = c_socket.sendto

# Seconds between tries to send a datagram to a full Unix socket. The kernel calls a socket without
# a peer writable whatever the receiver's queue is like, so there is nothing to wait for: waiting
# for it anyway would spin. Arbitrary: the first is short beside a receiver's turn, the last a rare
# look.
_FIRST_SEND_DELAY = 0.001
_LAST_SEND_DELAY = 0.05

# None is an address, though a wrong one.
_NO_ADDRESS: Any = object()


class CooperativeSocket(WaitingSocket):
    """A request socket whose calls block only the calling greenlet, whichever hub runs it.

    Each call asks for `MSG_DONTWAIT`, and then waits as WaitingSocket does. What the program has
    set on the descriptor itself (O_NONBLOCK, SO_RCVTIMEO, SO_SNDTIMEO) holds as it does for calls
    that block in the kernel.
    """

    __slots__ = ()

    def receive_now(self, size: int, flags: int = MSG_DONTWAIT) -> bytes | None:
        # The C level has no timeout here.
        try:
            data = recv(self, size, flags)
        except BlockingIOError:
            data = None
        self.reads_left = 0
        return data

    def receive_within(self, seconds: float | None, demand: Demand | None = None) -> bytes | None:
        """New bytes, b"" at the end of the stream, or None after `seconds` of silence.

        Without `seconds` there is no limit. With a `demand`, also None at once if nothing is there
        and other clients wait.
        """
        data = self.receive_now(FIRST_READ_SIZE)
        may_wait = seconds is None or seconds > 0
        if data is None and may_wait and self.await_bytes(seconds, demand):
            data = self.receive_now(FIRST_READ_SIZE)
        return data

    def await_bytes(self, seconds: float | None, demand: Demand | None) -> bool:
        """Wait until there is something to read; False after `seconds`, or if others wait."""
        others = None if demand is None else new_watcher(demand.fileno(), READ)
        try:
            wait(self.read_watcher(), None if seconds is None else max(seconds, 0.0), others)
        except TimeoutError:
            return False
        finally:
            if others is not None:
                others.close()
        return True

    def receive(self, size: int, /) -> bytes:
        self.unread_at = 0
        if not self.reads_left and self.timeout != 0.0:
            self.wait_readable()
        while True:
            try:
                data = recv(self, size, MSG_DONTWAIT)
            except BlockingIOError:
                if self.timeout == 0.0:
                    raise
            else:
                self.reads_left = 0 if len(data) < size else max(0, self.reads_left - 1)
                return data
            self.wait_readable()

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        if self.unread and bufsize and not flags & BESIDE_STREAM:
            return self._take_unread(bufsize, flags)
        if flags or not bufsize:
            return self._receive_with("recv", bufsize, flags)  # type: ignore[no-any-return]
        return self.receive(bufsize)

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        if not flags & MSG_WAITALL or self.unread:
            return RequestSocket.recv_into(self, buffer, nbytes, flags)
        with memoryview(buffer).cast("B") as view:
            if nbytes > len(view):
                raise ValueError("buffer too small for requested bytes")
            data = self.recv(nbytes or len(view), flags)
            view[: len(data)] = data
        return len(data)

    def _receive_with(self, method: str, *args: Any) -> Any:
        call = getattr(c_socket, method)
        *rest, flags = args
        self._note_receiving(flags)
        may_wait = self.timeout != 0.0 and not flags & (MSG_DONTWAIT | BESIDE_STREAM)
        if flags & MSG_WAITALL and method == "recv" and may_wait and self.timeout is None:
            return self._receive_all(rest[0], flags)
        while True:
            try:
                return call(self, *rest, flags | MSG_DONTWAIT)
            except BlockingIOError:
                if not may_wait:
                    raise
            self.wait_readable()

    def _receive_all(self, size: int, flags: int) -> bytes:
        # MSG_DONTWAIT overrules MSG_WAITALL in the kernel, so the waiting for all is done here.
        flags &= ~MSG_WAITALL
        data = bytearray()
        while len(data) < size:
            try:
                part = self._receive_with("recv", size - len(data), flags)
            except OSError:
                # What has come is not lost: the next call tells of the error.
                if not data:
                    raise
                break
            if not part:
                break
            data += part
        return bytes(data)

    def send(self, data: Any, flags: int = 0, /) -> int:
        """Send `data`; without a timeout all of it, as the kernel does, else what is taken."""
        timeout = self.timeout
        if timeout is not None or flags & MSG_DONTWAIT:
            return self._send_part(data, flags, monotonic() + timeout if timeout else None)
        limit = option_limits.of_waiting(self, WRITE) if limits else None
        give_up = None if limit is None else monotonic() + limit
        sent = 0
        with memoryview(data).cast("B") as view:
            while True:
                try:
                    sent += self._send_part(view[sent:], flags, give_up)
                except OSError as error:
                    # Of what has gone nobody would know: the next call meets the error again.
                    if sent:
                        return sent
                    if isinstance(error, TimeoutError) and limit is not None:
                        raise would_block() from None
                    raise
                if sent >= len(view):
                    return sent

    def _send_part(self, data: Any, flags: int, give_up: float | None) -> int:
        """Send what the kernel takes of `data` at once, waiting until it takes anything."""
        while True:
            try:
                return _send(self, data, flags | MSG_DONTWAIT)
            except BlockingIOError:
                if self.timeout == 0.0 or flags & MSG_DONTWAIT:
                    raise
            self._wait_until(WRITE, give_up)

    def sendall(self, data: Any, flags: int = 0, /) -> None:
        """Send all of `data`, within one timeout."""
        if type(data) is bytes:
            try:
                sent = _send(self, data, flags | MSG_DONTWAIT)
            except BlockingIOError:
                sent = 0
            if sent == len(data):
                return
        else:
            sent = 0
        self._send_rest(data, sent, flags)

    def _send_rest(self, data: Any, sent: int, flags: int) -> None:
        timeout = self.timeout
        give_up = monotonic() + timeout if timeout else None
        with memoryview(data).cast("B") as view:
            while sent < len(view):
                if timeout is None:
                    sent += self.send(view[sent:], flags)
                    continue
                sent += self._send_part(view[sent:], flags, give_up)
                if give_up is not None and sent < len(view) and monotonic() >= give_up:
                    raise TimeoutError("timed out")

    def sendto(self, data: Any, flags_or_address: Any, address: Any = _NO_ADDRESS, /) -> int:
        if address is not _NO_ADDRESS:
            return self._send_with(flags_or_address, "sendto", (data,), (address,))
        try:
            return _sendto(self, data, MSG_DONTWAIT, flags_or_address)
        except BlockingIOError:
            return self._send_with(0, "sendto", (data,), (flags_or_address,))

    def sendmsg(
        self, buffers: Any, ancdata: Any = (), flags: int = 0, address: Any = None, /
    ) -> int:
        """Send the bytes of `buffers`, without a timeout all of them; ancillary data goes first."""
        buffers = list(buffers)
        sent = self._send_with(flags, "sendmsg", (buffers, ancdata), (address,))
        if self.timeout is None and not flags & MSG_DONTWAIT:
            views = [memoryview(buffer).cast("B") for buffer in buffers]
            if sent < sum(map(len, views)):
                with contextlib.suppress(OSError):
                    sent += self.send(b"".join(views)[sent:], flags)
        return sent

    def _send_with(self, flags: int, method: str, before: Any, after: Any) -> int:
        call = getattr(c_socket, method)
        give_up = None if self.timeout is None else monotonic() + self.timeout
        delay = _FIRST_SEND_DELAY
        said_ready = False
        while True:
            try:
                return int(call(self, *before, flags | MSG_DONTWAIT, *after))
            except BlockingIOError:
                if self.timeout == 0.0 or flags & MSG_DONTWAIT:
                    raise
            if give_up is not None and monotonic() >= give_up:
                raise TimeoutError("timed out")
            if said_ready:
                pause(delay)
                delay = min(2 * delay, _LAST_SEND_DELAY)
            else:
                self._wait_until(WRITE, give_up)
                said_ready = True

    def sendfile(self, file: Any, offset: int = 0, count: int | None = None) -> int:
        """Send `file` from `offset` on, `count` bytes or (None) all of it; return the bytes sent.

        Without an `offset` a file of the file system is sent from its beginning, wherever it
        stands, and anything else from where it stands. A timeout is one for each part that the
        kernel takes, as in the standard library.

        Raises:
            ValueError: it is a text file, `count` is not positive, or the request does not block.
            TypeError: `count` is no integer.

        Differs from socketserver: (from `socket.sendfile`) the file is read and sent, because
        `os.sendfile` on a blocking descriptor would block every client of the hub.
        """
        if "b" not in getattr(file, "mode", "b"):
            raise ValueError("the file must be opened in binary mode")
        if count is not None and not isinstance(count, int):
            raise TypeError(f"count must be a positive integer or None, not {count!r}")
        if count is not None and count <= 0:
            raise ValueError(f"count must be a positive integer or None, not {count}")
        if self.gettimeout() == 0.0:
            raise ValueError("non-blocking sockets are not supported")
        stood = file.tell() if self._sends_from_beginning(file) else None
        if offset or stood is not None:
            file.seek(offset)
        total = 0
        try:
            while count is None or total < count:
                size = NEXT_READ_SIZE if count is None else min(NEXT_READ_SIZE, count - total)
                data = file.read(size)
                if not data:
                    break
                for sent in self.send_in_parts(data):
                    total += sent
        finally:
            if total and hasattr(file, "seek"):
                file.seek(offset + total)
            elif stood is not None:
                file.seek(stood)
        return total

    def _sends_from_beginning(self, file: Any) -> bool:
        """Whether the standard library would have the kernel read the file, which does so."""
        try:
            return stat.S_ISREG(os.fstat(file.fileno()).st_mode)
        except (AttributeError, OSError, ValueError):
            return False
