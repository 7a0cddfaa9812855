"""How a call on a cooperative request waits: in the hub, in `poll`, or not at all.

A request whose calls block one greenlet may be used by native threads of the program's own too: by
such without a hub, by such with one of their own. And what the program has set on the descriptor
itself holds, though no call ever blocks on that.
"""

from __future__ import annotations

import contextlib
import errno
import operator
import os
import socket as _stdlib_socket
from _socket import SOCK_DGRAM
from collections.abc import Callable
from time import monotonic
from typing import Any

from greenlet import greenlet

from greensock.hub.lifetime import has_hub
from greensock.hub.loop_ends import call_soon
from greensock.hub.waiting import (
    READ,
    WRITE,
    check_open,
    is_of_this_thread,
    loop_of,
    new_watcher,
    poll,
    wait,
)
from greensock.lot.lot import may_be_closed
from greensock.noted import option_limits
from greensock.noted.option_limits import limits
from greensock.sockets.requests import RequestSocket, c_socket, forget, number_of, untaken

_kind: Callable[[Any], int] = c_socket.__dict__["type"].__get__
_get_blocking = os.get_blocking

# The longest timeout that a socket takes, in seconds: as nanoseconds it must fit into 64 bits.
_LONGEST_TIMEOUT = (2**63 - 1) / 1e9

# A client who always has more to read would never let its greenlet yield: gevent's recv stalls
# everybody else for up to 517 ms. After this many reads in a row without a wait, one waits for the
# (ready) descriptor, which takes a turn of the loop. Beside a flood of lines 16 kept others waiting
# for 12 to 15 ms on a slow machine (p99), 8 for 7 to 9, 4 for 4. The flood was served as fast, and
# so were reads of 64 KiB.
READS_BEFORE_YIELD = 4


# What a waiting greenlet is woken with: a watcher that has one for its callback is taken.
_GREENLET_SWITCH = type(greenlet().switch)

# Further watchers of sockets on which several greenlets wait at once; too rare for a slot.
_extra_watchers: dict[WaitingSocket, list[Any]] = {}


def checked_timeout(value: Any) -> float | None:
    """What `settimeout` takes, in seconds.

    Raises:
        TypeError: it is no number.
        ValueError: it is negative, or not a number at all.
        OverflowError: it is more than the standard library's sockets take: 292 years.
    """
    if value is None:
        return None
    seconds = value if isinstance(value, float) else float(operator.index(value))
    if seconds != seconds:
        raise ValueError("Invalid value NaN (not a number)")
    if abs(seconds) > _LONGEST_TIMEOUT:
        raise OverflowError("timestamp out of range for platform time_t")
    if seconds < 0.0:
        raise ValueError("Timeout value out of range")
    return seconds


class WaitingSocket(RequestSocket):
    """A request socket whose descriptor stays in blocking mode, and that waits by other means.

    Watchers are made when first needed; another thread's are never waited on, nor closed.
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
        value = checked_timeout(value)
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

    def read_watcher(self) -> Any:
        watcher = self._reading
        if watcher is None or not is_of_this_thread(watcher):
            fd = number_of(self)
            if fd < 0:
                check_open(fd)
            watcher = self._reading = new_watcher(fd, READ)
        return watcher

    def wait_readable(self) -> None:
        """Block this greenlet until there is something to read, or the timeout is over.

        Raises:
            TimeoutError: it is over.
            BlockingIOError: the program has set on the descriptor that nothing is waited for, or
                not for so long.
        """
        self.reads_left = READS_BEFORE_YIELD
        timeout = self.timeout
        if timeout is None and (limits or not _get_blocking(number_of(self))):
            self._wait_as_kernel(READ)
            return
        watcher = self._reading
        if watcher is None or watcher.active or not wait(watcher, timeout):
            self._wait(READ, timeout)

    def wait_writable(self) -> None:
        """As `wait_readable`, until the kernel takes more bytes."""
        timeout = self.timeout
        if timeout is None and (limits or not _get_blocking(number_of(self))):
            self._wait_as_kernel(WRITE)
        else:
            self._wait(WRITE, timeout)

    def _wait_as_kernel(self, events: int) -> None:
        """Wait as the kernel does, for as long as the descriptor's own mode and options say."""
        fd = number_of(self)
        if not _get_blocking(fd) and _kind(self) != SOCK_DGRAM:
            # A datagram's is the server's, which gevent has made non-blocking.
            if poll(fd, events, 0.0):
                return
            raise would_block()
        limit = option_limits.of_waiting(self, events)
        try:
            self._wait(events, limit)
        except TimeoutError:
            raise would_block() from None

    def _wait(self, events: int, seconds: float | None) -> None:
        fd = number_of(self)
        check_open(fd)
        if not has_hub():
            if not poll(fd, events, seconds):
                raise TimeoutError("timed out")
            return
        watcher = self._reading if events == READ else self._writing
        if watcher is None:
            watcher = new_watcher(fd, events)
            if events == READ:
                self._reading = watcher
            else:
                self._writing = watcher
        elif not is_of_this_thread(watcher) or (
            watcher.active and isinstance(watcher.callback, _GREENLET_SWITCH)
        ):
            self._wait_beside(fd, events, seconds)
            return
        wait(watcher, seconds)

    def _wait_beside(self, fd: int, events: int, seconds: float | None) -> None:
        """Wait where another greenlet does: two that push to a slow client, or that answer through
        a server's one datagram socket. Started again, its watcher would forget the first.
        """
        extra = new_watcher(fd, events)
        extras = _extra_watchers.setdefault(self, [])
        extras.append(extra)
        try:
            wait(extra, seconds)
        finally:
            extra.close()
            extras.remove(extra)
            if not extras:
                _extra_watchers.pop(self, None)

    def _wait_until(self, events: int, give_up: float | None) -> None:
        """Wait until a time of the monotonic clock; None: as `wait_readable`, `wait_writable`."""
        if give_up is not None:
            left = give_up - monotonic()
            if left <= 0.0:
                raise TimeoutError("timed out")
            self._wait(events, left)
        elif events == READ:
            self.wait_readable()
        else:
            self.wait_writable()

    def stay_behind(self) -> None:
        """In a child: have nothing wake who waits for this request, which is the parent's."""
        for watcher in (self._reading, self._writing, *_extra_watchers.pop(self, ())):
            if watcher is not None:
                watcher.stop()
                watcher.close()
        self._reading = self._writing = None

    def forget_hub(self) -> None:
        """In a fresh child: drop watchers of the loop that stayed with the parent."""
        self._reading = self._writing = None
        _extra_watchers.pop(self, None)

    def detach(self) -> int:
        fd = RequestSocket.detach(self)
        self._close_watchers()
        return fd

    def _real_close(self, *args: Any) -> None:
        if may_be_closed(self):
            if self._reading is not None or self._writing is not None:
                self._close_watchers()
            if limits or untaken:
                forget(self)
            c_socket.close(self)

    def _close_watchers(self) -> None:
        for watcher in (self._reading, self._writing, *_extra_watchers.pop(self, ())):
            if watcher is not None:
                # Where the hub has ended, so has the watcher, and says so in its loop's own way.
                with contextlib.suppress(ValueError, TypeError, AttributeError):
                    if is_of_this_thread(watcher):
                        _close_watcher(watcher)
                    else:
                        # Only its own thread may touch it, though the descriptor goes before.
                        call_soon(loop_of(watcher), _close_watcher, watcher)
        self._reading = self._writing = None


def would_block() -> BlockingIOError:
    return BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))


def _close_watcher(watcher: Any) -> None:
    """In the thread of its hub: close it; a greenlet that waits there finds the socket closed."""
    wake = (watcher.callback, watcher.args) if watcher.active else None
    watcher.stop()
    if wake is not None:
        loop_of(watcher).run_callback(wake[0], *wake[1])
    watcher.close()
