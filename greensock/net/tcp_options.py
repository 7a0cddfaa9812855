"""What the kernel does for accepted TCP clients: told to the listener once, it costs no accept.

Linux gives an accepted socket the options that its listener has when the client connects. Set on
each accepted socket instead, keep-alive alone would be four system calls, 1.6 us an accept.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
from typing import Any

# tcp_info of linux/tcp.h: eight bytes, then 32-bit numbers; milliseconds since data was last sent,
# an acknowledgement sent, data received.
_TCP_INFO_SIZE = 60
_LAST_DATA_SENT = 44
_LAST_DATA_RECEIVED = 52


def set_on_listener(
    listener: Any,
    *,
    nodelay: bool,
    keepalive: tuple[int, int, int] | None,
    write_timeout: float | None,
) -> None:
    """Set the options of all clients that `listener` will accept; a Unix socket has none of them.

    Args:
        nodelay: True turns Nagle's algorithm off: with delayed acknowledgements at the other end, a
            reply written in two parts waits 44 ms for its second part.
        keepalive: seconds of silence before the first probe, seconds between probes, and how many
            of them may go unanswered before the client counts as gone. None: no probes.
        write_timeout: seconds for which bytes may stay unacknowledged, or a client may have no room
            for more, before the connection fails. None: as the system says.
    """
    with contextlib.suppress(AttributeError, OSError):
        if listener.family not in (socket.AF_INET, socket.AF_INET6):
            return
        if nodelay:
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if keepalive is not None:
            for option, value in zip(
                (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT),
                keepalive,
                strict=True,
            ):
                listener.setsockopt(socket.IPPROTO_TCP, option, value)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, keepalive is not None)
        milliseconds = 0 if write_timeout is None else max(1, round(write_timeout * 1000))
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)


def bind(sock: Any, address: Any) -> None:
    """Bind a socket that is to listen, also where only clients who are gone have the port still.

    Whoever closes first keeps the port for a minute (TIME_WAIT), and in a drain that is the server.
    Linux has it bound all the same where both sides allow that (SO_REUSEADDR), but never where
    somebody listens. Allowed once a plain bind has failed only, it changes nothing else.

    Raises:
        OSError: the address cannot be bound.
    """
    try:
        sock.bind(address)
    except OSError as error:
        if error.errno != errno.EADDRINUSE or not _is_tcp(sock):
            raise
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(address)
        except OSError:
            raise error from None


def let_port_be_bound_again(listener: Any) -> None:
    """Have what is left of its clients keep nobody from the port, once nobody listens there.

    After `listen`: in between, another could listen first.
    """
    with contextlib.suppress(AttributeError, OSError):
        if _is_tcp(listener):
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)


def _is_tcp(sock: Any) -> bool:
    return (
        sock.type == socket.SOCK_STREAM
        and sock.family in (socket.AF_INET, socket.AF_INET6)
        and hasattr(socket, "SO_REUSEADDR")
    )


def seconds_without_data(request: Any) -> float | None:
    """For how long no byte has gone either way; None for a socket that does not know."""
    try:
        info = request.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_SIZE)
    except OSError:
        return None
    if len(info) < _TCP_INFO_SIZE:
        return None
    (sent,) = struct.unpack_from("=I", info, _LAST_DATA_SENT)
    (received,) = struct.unpack_from("=I", info, _LAST_DATA_RECEIVED)
    return float(min(sent, received)) / 1000
