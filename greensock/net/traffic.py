"""What the kernel knows of a TCP connection, which so need not be counted here."""

from __future__ import annotations

import socket
import struct
from typing import Any, NamedTuple

# tcp_info of linux/tcp.h: eight bytes, then 32-bit numbers (milliseconds since data was last sent
# and received), and from byte 104 on 64-bit ones.
_SIZE = 136
_NUMBERS = struct.Struct("=44xI4xI64x2Q")

# The state (its first byte); what was received, what is not sent yet; since Linux 4.19 what was
# sent, and again.
_SIZE_WITH_SENT = 216
_VOLUME = struct.Struct("=B127xQ8xI52x2Q")
# The states of a connection whose client has said its end: that counts as a byte received.
_ENDED_BY_CLIENT = {8, 9, 11}


class Traffic(NamedTuple):
    """A connection's: bytes received, bytes sent and acknowledged, seconds since the last of both.

    `idle` counts from the connection's beginning where there was none yet.
    """

    received: int
    sent: int
    idle: float


def traffic_of(request: Any) -> Traffic | None:
    """The traffic of a request; None if it is not TCP, is closed, or the kernel is too old."""
    try:
        info = request.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _SIZE)
    except (OSError, AttributeError):
        return None
    if len(info) < _SIZE:
        return None
    since_sent, since_received, sent, received = _NUMBERS.unpack(info)
    return Traffic(received, sent, min(since_sent, since_received) / 1000)


def volume_of(request: Any) -> tuple[int, int] | None:
    """Bytes received, and bytes written, of a request that is about to be closed; None as above.

    What waits in the kernel to be sent is written too: unlike `Traffic.sent`, nobody could ask
    again once it is acknowledged. The client's end counts for a byte if the connection was reset
    after it (who has closed, and is written to, does that), or shut down here before: the kernel
    does not tell then any more whether there was one.
    """
    try:
        info = request.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _SIZE_WITH_SENT)
    except (OSError, AttributeError):
        return None
    if len(info) < _SIZE_WITH_SENT:
        return None
    state, received, unsent, sent, again = _VOLUME.unpack(info)
    return received - (state in _ENDED_BY_CLIENT), sent - again + unsent
