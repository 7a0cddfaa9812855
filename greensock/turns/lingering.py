"""Turns in threads and children, which wait a while for their client's next request."""

from __future__ import annotations

from _socket import SO_RCVBUF, SOL_SOCKET
from time import monotonic
from typing import TYPE_CHECKING, Any

from greensock.handlers.untaken import add, await_more, wait_for_more
from greensock.hub.workers.demand import Demand
from greensock.lot.client import Client
from greensock.lot.outcomes import END, GO_ON, PARK, Lingering, Outcome
from greensock.sockets.requests import untaken
from greensock.turns.single_requests import is_changed, run_alone, serve_one
from greensock.turns.unbuffered import run_unbuffered_turn

if TYPE_CHECKING:
    from greensock.turns.plain import Turns

# How much of its linger a client is given in its first turn. A demand that connects, asks once and
# falls silent would otherwise keep a thread or child each for all of it: 300 threads at 6,000
# clients a second, whose stacks the C library then keeps. One that asks and hangs up has done so.
FIRST_LINGER = 0.1


def run(
    turns: Turns, client: Client, linger: float, demand: Demand | None, turn: Lingering
) -> Outcome:
    """Run one turn where a thread or child blocks for it, with a blocking request.

    After each answer the client keeps its thread or child for up to `linger` seconds of silence:
    a native thread costs 50-100 us to start, a child 1.7 ms, far more than most turns. While others
    wait for its place (`demand`), it keeps a silent client not at all, and a busy one for no longer
    than `linger`: that leaves everybody a turn, and most exchanges without a new child.
    """
    handler = client.handler
    if handler is None:
        linger *= FIRST_LINGER
        handler = turns.open_handler(client)
        if handler is None:
            return END
    request = client.request
    if not handler.rbufsize or request.has_messages:
        return run_unbuffered_turn(client, turns.traits, turns.keeps_unread)
    if untaken and request in untaken and (ended := wait_for_more(request)) is not None:
        return ended
    outcome = _linger(turns, client, linger, demand, turn)
    if outcome is not END:
        request.end_lingering()
    return outcome


def _linger(
    turns: Turns, client: Client, linger: float, demand: Demand | None, turn: Lingering
) -> Outcome:
    handler, request, traits = client.handler, client.request, turns.traits
    # A child's half of a request could not come back to the parent.
    is_complete = traits.is_complete if turns.keeps_unread else None
    keep_until = monotonic() + linger
    hears_out = True

    def for_more(_: Any) -> Outcome | None:
        return _linger_for_more(turns, client, linger, demand, turn)

    while True:
        if not request.unread:
            data = _wait_for_bytes(client, linger, demand, turn)
            if data is None:
                break
            if not data:
                return END
            request.unread = data
        begins = is_complete is None or request.receive_until(is_complete)
        if not begins and not turns.begins_anyway(client):
            break
        outcome: Outcome | None = None
        if traits.closes_by_default:
            outcome = serve_one(client, traits, traits.runner_of(handler), for_more)
        else:
            rfile, data, at = handler.rfile, request.unread, request.unread_at
            handler.handle_one_request()
            if is_changed(handler, request, rfile):
                return run_alone(client, traits)
            if handler.close_connection or request._closed:
                return END
            if data and request.unread is data and request.unread_at == at:
                outcome = for_more(request)
        if outcome is not None:
            return outcome
        if turns.program.draining and not request.unread:
            if not (hears_out and _take_arrived(request)):
                break
            hears_out = False
        if demand is not None and monotonic() > keep_until:
            if demand.is_waiting():
                if request.unread:
                    return GO_ON
                break
            keep_until = monotonic() + linger
    if handler.wbufsize:
        handler.wfile.flush()
    return PARK


def _wait_for_bytes(
    client: Client, linger: float, demand: Demand | None, turn: Lingering
) -> bytes | None:
    """What the client says next; b"" at the end of the stream, None if it was silent."""
    if client.handler.wbufsize:
        client.handler.wfile.flush()
    turn.silent_since = monotonic()
    data: bytes | None = client.request.receive_within(linger, demand)
    if data is not None:
        turn.silent_since = 0.0
    return data


def _linger_for_more(
    turns: Turns, client: Client, linger: float, demand: Demand | None, turn: Lingering
) -> Outcome | None:
    """As `wait_for_more`, but wait a while.

    In a child, whose bytes nobody else has, until it comes, as a read of the handler's would.
    """
    request = client.request
    data = _wait_for_bytes(client, linger, demand, turn)
    if data is None:
        if turns.keeps_unread:
            untaken.add(request)
            return PARK
        return None if await_more(request) else END
    add(request, data)
    return None if data else END


def _take_arrived(request: Any) -> bool:
    """Receive all that has arrived before a drain; say whether that is anything.

    No more than the kernel can have held: a client who never stops would keep the drain.
    """
    most = request.getsockopt(SOL_SOCKET, SO_RCVBUF)
    parts: list[bytes] = []
    while most > 0 and (data := request.receive_within(0.0)):
        parts.append(data)
        most -= len(data)
    request.unread = b"".join(parts)
    return bool(parts)
