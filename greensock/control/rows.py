"""A server's clients as rows of a table."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from types import FrameType
from typing import Any, NamedTuple

from greensock.handlers import whereabouts
from greensock.lot.client import PARKED
from greensock.net.traffic import traffic_of
from greensock.printable import address_in_words

#: Who is parked; whose handler runs; whose turn waits for its place.
STATES = PARKED_STATE, BUSY_STATE, WAITING_STATE = "parked", "busy", "waiting"

_PEER_CREDENTIALS = struct.Struct("3i")


class Row(NamedTuple):
    """A client: who it is, and what it does.

    Attributes:
        peer: its address; of a Unix socket's client the process.
        state: parked, busy or waiting.
        idle: seconds since the last byte either way; None where nobody knows, as for Unix sockets.
        received, sent: bytes so far; None where nobody knows.
        where: the line that its handler is at; empty if there is none at work.
    """

    peer: str
    state: str
    idle: float | None
    received: int | None
    sent: int | None
    where: str


def rows_of(server: Any, frame: FrameType | None = None) -> Iterator[Row]:
    """A row for each client, one after the other: in the serving thread, between two turns.

    The server may go on between two rows. Who leaves meanwhile may be missing, and who changes from
    busy to parked may be listed as what it was before.

    Args:
        frame: what runs just now where a signal interrupted it; None: no handler does.
    """
    seen = set()
    running = None if frame is None else whereabouts.find(frame)
    if running is not None and running.handler is not None:
        request = running.handler.request
        seen.add(id(request))
        yield _row(request, running.handler.client_address, BUSY_STATE, running.line)
    for work in server._greensock.runner.at_work():
        if id(work.request) not in seen:
            seen.add(id(work.request))
            yield _row(work.request, work.client_address, BUSY_STATE, work.where)
    serving = server._greensock.run
    for client in [] if serving is None else list(serving.lot.clients.values()):
        if id(client.request) not in seen:
            state = PARKED_STATE if client.state is PARKED else WAITING_STATE
            yield _row(client.request, client.address, state, "")


def _row(request: Any, address: Any, state: str, where: str) -> Row:
    if isinstance(request, tuple):
        return Row(_peer(request[1], address), state, None, None, None, where)
    traffic = traffic_of(request)
    peer = _peer(request, address)
    if traffic is None:
        return Row(peer, state, None, None, None, where)
    return Row(peer, state, traffic.idle, traffic.received, traffic.sent, where)


def _peer(request: Any, address: Any) -> str:
    return address_in_words(address) if address else _process_of(request)


def _process_of(request: Any) -> str:
    """Whoever connected to a Unix socket, which has no address for it."""
    try:
        raw = request.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER_CREDENTIALS.size)
    except (OSError, AttributeError):
        return "?"
    return f"process {_PEER_CREDENTIALS.unpack(raw)[0]}"
