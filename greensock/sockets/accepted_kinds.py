"""What kind of request suits what a listener accepts: by its family, its type, its options."""

from __future__ import annotations

import functools
import socket as _stdlib_socket
from _socket import SOCK_SEQPACKET, SOCK_STREAM
from typing import Any

from greensock.files.streams import NEXT_READ_SIZE
from greensock.noted import option_limits
from greensock.sockets.cooperative import CooperativeSocket
from greensock.sockets.lingering import LingeringSocket
from greensock.sockets.local import LingeringLocalSocket, LocalSocket
from greensock.sockets.requests import OriginalSocket, note_limits


class MessageSocket(CooperativeSocket):
    """A cooperative request that is a row of messages."""

    __slots__ = ()

    has_messages = True
    read_size = NEXT_READ_SIZE


class LingeringMessageSocket(LingeringSocket):
    """A row of messages for threads and children."""

    __slots__ = ()

    has_messages = True
    read_size = NEXT_READ_SIZE


_LOCAL = {CooperativeSocket: LocalSocket, LingeringSocket: LingeringLocalSocket}
_MESSAGES = {CooperativeSocket: MessageSocket, LingeringSocket: LingeringMessageSocket}


def suiting(make: Any, listener: Any) -> Any:
    """What makes a request of a descriptor that `listener` has accepted, where `make` would do.

    `make` is a class of requests, or what else makes one.
    """
    if has_messages(listener):
        make = _MESSAGES.get(make, make)
    elif is_local(listener):
        make = _LOCAL.get(make, make)
    if make is not OriginalSocket and _has_limits(listener):
        # Linux hands the time limits of a listener on to what it accepts.
        return functools.partial(_limited, make)
    return make


def is_local(listener: Any) -> bool:
    """Whether it is a Unix socket, whose clients may send more than bytes."""
    return bool(getattr(listener, "family", None) == _stdlib_socket.AF_UNIX)


def has_messages(listener: Any) -> bool:
    """Whether each of its clients is a row of messages."""
    return bool(getattr(listener, "type", SOCK_STREAM) == SOCK_SEQPACKET)


def _has_limits(listener: Any) -> bool:
    try:
        return any(option_limits.of(listener))
    except (OSError, AttributeError):
        return False


def _limited(make: Any, *args: Any, **kwargs: Any) -> Any:
    request = make(*args, **kwargs)
    note_limits(request)
    return request
