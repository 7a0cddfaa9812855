"""The requests of handlers that run on the hub.

Facts (measured): a gevent socket makes two watchers whether it needs them or not (11 us and 297
bytes, against 7 us and 104 bytes of a plain one), is no instance of `socket.socket` in an unpatched
process, belongs to the hub that made it for ever, and sets O_NONBLOCK on a description that
children share. `MSG_DONTWAIT` asks for the same for one call: no flag to set, nothing shared
changes, and the very same descriptor can be handed to a thread or a child that blocks.
"""

from __future__ import annotations

import contextlib
import socket as _stdlib_socket
from _socket import MSG_DONTWAIT, MSG_WAITALL
from collections.abc import Callable
from time import monotonic
from typing import Any

from greenlet import greenlet

from greensock.hub.crowd import Crowd
from greensock.hub.lot import may_be_closed
from greensock.hub.waiting import (
    READ,
    WRITE,
    check_open,
    is_of_this_thread,
    loop_of,
    new_watcher,
    pause,
    wait,
)
from greensock.net.request_sockets import RequestSocket, c_socket, recv
from greensock.streams import FIRST_READ_SIZE, NEXT_READ_SIZE

_send: Callable[..., int] = c_socket.send
_sendto: Callable[..., int] = c_socket.sendto

# A client who always has more to read would never let its greenlet yield: gevent's recv stalls
# everybody else for up to 517 ms. After this many reads in a row without a wait, one waits for the
# (ready) descriptor, which takes a turn of the loop. Beside a flood of lines 16 kept others waiting
# for 12 to 15 ms on a slow machine (p99), 8 for 7 to 9, 4 for 4. The flood was served as fast, and
# so were reads of 64 KiB.
READS_BEFORE_YIELD = 4


# Seconds between tries to send a datagram to a full Unix socket. The kernel calls a socket without
# a peer writable whatever the receiver's queue is like, so there is nothing to wait for: waiting
# for it anyway would spin. Arbitrary: the first is short beside a receiver's turn, the last a rare
# look.
_FIRST_SEND_DELAY = 0.001
_LAST_SEND_DELAY = 0.05

# What a waiting greenlet is woken with: a watcher that has one for its callback is taken.
_GREENLET_SWITCH = type(greenlet().switch)

# None is an address, though a wrong one.
_NO_ADDRESS: Any = object()

# Further watchers of sockets on which several greenlets wait at once; too rare for a slot.
_extra_watchers: dict[CooperativeSocket, list[Any]] = {}


class CooperativeSocket(RequestSocket):
    """A request socket whose calls block only the calling greenlet, whichever hub runs it.

    Its descriptor stays in blocking mode: each call asks for `MSG_DONTWAIT` and waits in the
    hub. Watchers are made when first needed, and anew under another hub.
    """

    __slots__ = ("_reading", "_writing", "reads_left", "timeout")

    def __init__(
        self, family: int = -1, type: int = -1, proto: int = -1, fileno: int | None = None
    ) -> None:
        RequestSocket.__init__(self, family, type, proto, fileno)
        #: Seconds, or None, or 0.0; the C level's own timeout stays None (or 0.0).
        self.timeout = _stdlib_socket.getdefaulttimeout()  # type: ignore[misc]
        if self.timeout is not None:
            c_socket.settimeout(self, None)
        self._reading: Any = None
        self._writing: Any = None
        #: How many more reads may follow before one waits first; none once a read left room in its
        #: buffer. The kernel has no more then, and waiting at once spares a failing system call and
        #: its exception (1.7 us together).
        self.reads_left = READS_BEFORE_YIELD

    def settimeout(self, value: float | None, /) -> None:
        if value is not None:
            value = float(value)
            if value < 0.0:
                raise ValueError("Timeout value out of range")
        self.timeout = value  # type: ignore[misc]
        if value == 0.0:
            c_socket.setblocking(self, False)
        elif c_socket.gettimeout(self) is not None:
            c_socket.setblocking(self, True)

    def gettimeout(self) -> float | None:
        return self.timeout

    def setblocking(self, flag: bool, /) -> None:
        self.settimeout(None if flag else 0.0)

    def getblocking(self) -> bool:
        return self.timeout != 0.0

    def receive_now(self, size: int, flags: int = MSG_DONTWAIT) -> bytes | None:
        # The C level has no timeout here.
        try:
            data = recv(self, size, flags)
        except BlockingIOError:
            data = None
        self.reads_left = 0
        return data

    def read_watcher(self) -> Any:
        # The lot's is also the one that turns wait on: a second would cost each client 137 bytes.
        watcher = self._reading
        if watcher is None or not is_of_this_thread(watcher):
            fd = self.fileno()
            if fd < 0:
                check_open(fd)
            watcher = self._reading = new_watcher(fd, READ)
        return watcher

    def forget_read_watcher(self) -> None:
        self._reading = None

    def receive_within(self, seconds: float, crowd: Crowd | None = None) -> bytes | None:
        """New bytes, b"" at the end of the stream, or None after `seconds` of silence.

        With a `crowd`, also None at once if nothing is there and other clients wait.
        """
        for may_wait in (seconds > 0, False):
            try:
                return recv(self, FIRST_READ_SIZE, MSG_DONTWAIT)
            except BlockingIOError:
                if not may_wait:
                    return None
            others = None if crowd is None else new_watcher(crowd.fileno(), READ)
            try:
                wait(self.read_watcher(), seconds, others)
            except TimeoutError:
                pass
            finally:
                if others is not None:
                    others.close()
        return None

    def wait_readable(self) -> None:
        """Block this greenlet until there is something to read, or the timeout is over."""
        self.reads_left = READS_BEFORE_YIELD
        watcher = self.read_watcher()
        if watcher.active:
            self._wait(watcher, READ)
        else:
            wait(watcher, self.timeout)

    def wait_writable(self) -> None:
        """Block this greenlet until the kernel takes more bytes, or the timeout is over."""
        watcher = self._writing
        if watcher is None or not is_of_this_thread(watcher):
            watcher = self._writing = self._new_watcher(WRITE)
        self._wait(watcher, WRITE)

    def _wait(self, watcher: Any, events: int) -> None:
        if not (watcher.active and isinstance(watcher.callback, _GREENLET_SWITCH)):
            wait(watcher, self.timeout)
            return
        # Another greenlet waits on it: two that push to a slow client, or that answer through a
        # server's one datagram socket. Started again, it would forget the first.
        extra = self._new_watcher(events)
        extras = _extra_watchers.setdefault(self, [])
        extras.append(extra)
        try:
            wait(extra, self.timeout)
        finally:
            extra.close()
            extras.remove(extra)
            if not extras:
                _extra_watchers.pop(self, None)

    def _new_watcher(self, events: int) -> Any:
        check_open(self.fileno())
        return new_watcher(self.fileno(), events)

    def receive(self, size: int, /) -> bytes:
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
        if self.unread and bufsize:
            return self._take_unread(bufsize, flags)
        if flags or not bufsize:
            return self._receive_with("recv", bufsize, flags)  # type: ignore[no-any-return]
        return self.receive(bufsize)

    def _receive_with(self, method: str, *args: Any) -> Any:
        call = getattr(c_socket, method)
        *rest, flags = args
        may_wait = self.timeout != 0.0 and not flags & MSG_DONTWAIT
        if flags & MSG_WAITALL and method == "recv" and may_wait:
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
            part = self._receive_with("recv", size - len(data), flags)
            if not part:
                break
            data += part
        return bytes(data)

    def send(self, data: Any, flags: int = 0, /) -> int:
        while True:
            try:
                return _send(self, data, flags | MSG_DONTWAIT)
            except BlockingIOError:
                if self.timeout == 0.0 or flags & MSG_DONTWAIT:
                    raise
            self.wait_writable()

    def sendall(self, data: Any, flags: int = 0, /) -> None:
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
        with memoryview(data).cast("B") as view:
            while sent < len(view):
                sent += self.send(view[sent:], flags)

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
        return self._send_with(flags, "sendmsg", (buffers, ancdata), (address,))

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
                self.wait_writable()
                said_ready = True

    def sendfile(self, file: Any, offset: int = 0, count: int | None = None) -> int:
        """Send `file` from `offset` on, `count` bytes or (None) all of it; return the bytes sent.

        Differs from socketserver: (from `socket.sendfile`) the file is read and sent, because
        `os.sendfile` on a blocking descriptor would block every client of the hub.
        """
        if count is not None and count <= 0:
            raise ValueError(f"count must be a positive integer or None, not {count}")
        if offset:
            file.seek(offset)
        total = 0
        try:
            while count is None or total < count:
                size = NEXT_READ_SIZE if count is None else min(NEXT_READ_SIZE, count - total)
                data = file.read(size)
                if not data:
                    break
                self.sendall(data)
                total += len(data)
        finally:
            if hasattr(file, "seek"):
                file.seek(offset + total)
        return total

    def forget_hub(self) -> None:
        """In a fresh child: drop watchers of the loop that stayed with the parent."""
        self._reading = self._writing = None

    def stay_behind(self) -> None:
        """In a child: have nothing wake who waits for this request, which is the parent's."""
        for watcher in (self._reading, self._writing, *_extra_watchers.pop(self, ())):
            if watcher is not None:
                watcher.stop()
                watcher.close()
        self._reading = self._writing = None

    def detach(self) -> int:
        fd = RequestSocket.detach(self)
        self._close_watchers()
        return fd

    def _real_close(self, *args: Any) -> None:
        if may_be_closed(self):
            if self._reading is not None or self._writing is not None:
                self._close_watchers()
            c_socket.close(self)

    def _close_watchers(self) -> None:
        if self._reading is None and self._writing is None:
            return
        for watcher in (self._reading, self._writing, *_extra_watchers.pop(self, ())):
            if watcher is not None:
                # Where the hub has ended, so has the watcher, and says so in its loop's own way.
                with contextlib.suppress(ValueError, TypeError, AttributeError):
                    self._close_watcher(watcher)
        self._reading = self._writing = None

    def _close_watcher(self, watcher: Any) -> None:
        if watcher.active:
            # A greenlet waits there: it goes on, and its next call finds the socket closed.
            wake, args = watcher.callback, watcher.args
            watcher.stop()
            loop_of(watcher).run_callback_threadsafe(wake, *args)
        watcher.close()
