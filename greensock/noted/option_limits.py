"""Time limits that programs have set as socket options (SO_RCVTIMEO, SO_SNDTIMEO).

The kernel heeds them in calls that block. Where a call waits in a hub, or a client in the lot, they
are heeded here instead: the kernel never blocks there. Noted by request, since asking the kernel
at every wait would cost 0.4 us, and few programs set any.
"""

from __future__ import annotations

import struct
from _socket import SO_RCVTIMEO, SO_SNDTIMEO, SOL_SOCKET
from typing import Any, NamedTuple

from greensock.hub.waiting import WRITE


class Limits(NamedTuple):
    """The seconds after which a call that receives, or sends, ends; None: it does not."""

    receiving: float | None
    sending: float | None


#: Of the requests that have any.
limits: dict[Any, Limits] = {}

# The two, and what Linux has for them since it counts time in 64 bits on every machine.
_OPTIONS = {SO_RCVTIMEO, SO_SNDTIMEO, 66, 67}

_TIME = struct.Struct("@ll")


def is_limit(level: Any, option: Any) -> bool:
    """Whether a socket option is such a limit."""
    return level == SOL_SOCKET and option in _OPTIONS


def of(sock: Any) -> Limits:
    """What the kernel knows of the limits of a socket."""
    return Limits(_ask(sock, SO_RCVTIMEO), _ask(sock, SO_SNDTIMEO))


def note(request: Any) -> None:
    """Take over what the kernel knows of the limits of a request."""
    found = of(request)
    if any(found):
        limits[request] = found
    else:
        forget(request)


def of_waiting(request: Any, events: int) -> float | None:
    """For how many seconds a call of a request's may wait to read, or to write; None: for ever."""
    found = limits.get(request)
    return None if found is None else found[events == WRITE]


def forget(request: Any) -> None:
    """It has none, or is about to be closed."""
    limits.pop(request, None)


def _ask(sock: Any, option: int) -> float | None:
    seconds, microseconds = _TIME.unpack(sock.getsockopt(SOL_SOCKET, option, _TIME.size))
    return float(seconds) + float(microseconds) / 1_000_000 or None
