"""What a handler's handle_one_request() leaves untouched: it is called again once more has come.

Called again at once, it would find the same and do the same, with all of a processor.
"""

from __future__ import annotations

import fcntl
import select
import socket
import struct
import termios
from time import monotonic
from typing import Any

from gevent import monkey

from greensock.hub.waiting import pause
from greensock.lot.outcomes import END, PARK, Outcome
from greensock.sockets.requests import number_of, untaken

# Arbitrary: more than any frame that is looked at before it is taken. What no handler takes would
# fill the memory.
_MOST_UNTAKEN = 1_048_576

# Seconds between looks at bytes that wait in the kernel where nothing tells of further ones, at
# first and at last; and until the handler is asked anyway: whom it has passed its client on to may
# have taken as many as came meanwhile.
_FIRST_LOOK = 0.005
_LAST_LOOK = 0.05
_LONGEST_WAIT = 1.0


def has_more(request: Any) -> bool | None:
    """Receive more of a request whose handler has left all untouched; say whether there is more.

    False: there will be no more. None: there is nothing more yet, and `request` waits for it in
    `untaken`.

    Raises:
        RuntimeError: there is too much already.
        OSError: the connection is broken.
    """
    untaken.discard(request)
    data = request.read_now()
    if data is None:
        untaken.add(request)
        return None
    add(request, data)
    return bool(data)


def wait_for_more(request: Any) -> Outcome | None:
    """After a handler that has taken nothing, or at the next turn: None once there is more.

    Else how the turn ends.
    """
    more = has_more(request)
    if more:
        return None
    return PARK if more is None else END


def await_more(request: Any) -> bool:
    """Block until there is more, as a read of the handler's would; False: there will be no more.

    Of a non-blocking request also False if there is no more yet.

    Raises:
        RuntimeError, OSError: as `has_more`.
    """
    try:
        data = request.receive(request.read_size)
    except BlockingIOError:
        return False
    add(request, data)
    return bool(data)


def add(request: Any, data: bytes) -> None:
    """Add `data` to the unread bytes of a request whose handler has left all untouched."""
    request.unread = request.unread[request.unread_at :] + data
    request.unread_at = 0
    if len(request.unread) > _MOST_UNTAKEN:
        raise RuntimeError(f"handle_one_request() took nothing of {len(request.unread)} bytes")


def size_in_kernel(request: Any) -> int:
    """How many bytes can be received."""
    (size,) = struct.unpack("i", fcntl.ioctl(number_of(request), termios.FIONREAD, bytes(4)))
    return int(size)


def wait_in_kernel(request: Any, size: int, *, may_park: bool) -> Outcome | None:
    """After a handler without a buffer that has left `size` bytes in the kernel.

    None: there is more, or it took long. PARK: the kernel will tell of more, and `end_wait` is to
    be called then. END: there will be no more.
    """
    poller = monkey.get_original("select", "poll")()
    poller.register(number_of(request), select.POLLRDHUP)
    if may_park and request.family != socket.AF_UNIX:
        _set_least(request, size + 1)
        if size_in_kernel(request) == size and not poller.poll(0):
            untaken.add(request)
            return PARK
        _set_least(request, 1)
    delay = _FIRST_LOOK
    began = monotonic()
    while size_in_kernel(request) == size and monotonic() - began < _LONGEST_WAIT:
        if poller.poll(0):
            return None if size_in_kernel(request) != size else END
        pause(delay)
        delay = min(2 * delay, _LAST_LOOK)
    return None


def end_wait(request: Any) -> None:
    """Its handler is called again: it receives as before."""
    untaken.discard(request)
    _set_least(request, 1)


def _set_least(request: Any, size: int) -> None:
    """Have the kernel call it readable only once it has `size` bytes, or no more will come."""
    request.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, size)
