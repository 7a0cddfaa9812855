"""What a handler's handle_one_request() leaves untouched: it is called again once more has come.

Called again at once, it would find the same and do the same, with all of a processor.
"""

from __future__ import annotations

import fcntl
import select
import struct
import termios
from time import monotonic
from typing import Any

from gevent import monkey

from greensock.hub.waiting import pause
from greensock.net.request_sockets import number_of, untaken
from greensock.outcomes import END, PARK, Outcome

# Arbitrary: more than any frame that is looked at before it is taken. What no handler takes would
# fill the memory.
_MOST_UNTAKEN = 1_048_576

# Seconds between looks at bytes that wait in the kernel, where a handler without a buffer left
# them: nothing tells of further ones. At first and at last, and until it is asked anyway: it may
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


def comes_more(request: Any, size: int) -> bool:
    """Wait until there are not just `size` bytes in the kernel any more; False: there are no more.

    True also once that has taken long.
    """
    poller = monkey.get_original("select", "poll")()
    poller.register(number_of(request), select.POLLRDHUP)
    delay = _FIRST_LOOK
    began = monotonic()
    while size_in_kernel(request) == size and monotonic() - began < _LONGEST_WAIT:
        if poller.poll(0):
            return size_in_kernel(request) != size
        pause(delay)
        delay = min(2 * delay, _LAST_LOOK)
    return True
