"""A turn: what is done for a client from "bytes are there" until its handler has used them up.

The same for every mixin; a mixin only says where it runs. Nothing here touches the lot: a turn
tells how it ended, and whoever runs turns parks, goes on with or forgets the client.
"""

from __future__ import annotations

from _socket import MSG_DONTWAIT, SO_RCVBUF, SOL_SOCKET
from collections.abc import Callable
from time import monotonic
from typing import Any

from greensock import endings
from greensock.handlers import being_opened, reads_through_request
from greensock.hub.crowd import Crowd
from greensock.hub.lot import ENDING, Client
from greensock.net.request_sockets import recv, untaken
from greensock.net.waiting_sockets import READS_BEFORE_YIELD
from greensock.outcomes import END as END
from greensock.outcomes import GO_ON as GO_ON
from greensock.outcomes import PARK as PARK
from greensock.outcomes import REQUESTS as REQUESTS
from greensock.outcomes import Lingering as Lingering
from greensock.outcomes import Outcome as Outcome
from greensock.outcomes import Turn as Turn
from greensock.streams import FIRST_READ_SIZE
from greensock.unbuffered_turns import run_unbuffered_turn
from greensock.untaken import add, wait_for_more

# How much of its linger a client is given in its first turn. A crowd that connects, asks once and
# falls silent would otherwise keep a thread or child each for all of it: 300 threads at 6,000
# clients a second, whose stacks the C library then keeps. One that asks and hangs up has done so.
FIRST_LINGER = 0.1


def open_handler(server: Any, client: Client) -> Any:
    """Make the client's handler through `finish_request`; None if that has run it whole.

    For a client that is OPENING it is never run, whatever it is like.
    """
    request = client.request
    shape = server._shape()
    if not shape.request_wise:
        server.finish_request(request, client.address)
        return None
    key = id(request)
    being_opened[key] = client
    try:
        server.finish_request(request, client.address)
    finally:
        del being_opened[key]
    handler = client.handler
    if handler is not None and (
        shape.closes_by_default or not hasattr(handler, "close_connection")
    ):
        handler.close_connection = shape.closes_by_default
    wrapping = shape.one_at_a_time
    if (
        wrapping is not None
        and type(handler) is wrapping.__base__
        and reads_through_request(handler)
    ):
        handler.__class__ = wrapping
    return handler


def run_turn(server: Any, client: Client) -> Outcome:
    """Run one turn on the hub, with a cooperative request."""
    handler = client.handler
    if handler is None or client.state is ENDING:
        return run_plain_turn(server, client)
    if not handler.rbufsize or client.request.has_messages:
        return run_unbuffered_turn(client)
    outcome = run_plain_turn(server, client)
    if outcome is PARK and handler.wbufsize:
        handler.wfile.flush()
    return outcome


def run_plain_turn(server: Any, client: Client) -> Outcome:
    """As `run_turn`, for handlers whose `rbufsize` and `wbufsize` are as they come.

    This and what it calls is all that an exchange costs beside its two system calls. So the first
    read of a request is made here and not by a method of it; and what few handlers have is looked
    for when they are made: once it is met, the server's turns are run by `run_turn`.
    """
    handler = client.handler
    if client.state is ENDING:
        return END
    if handler is None:
        handler = open_handler(server, client)
        if handler is None:
            return END
        if not handler.rbufsize or handler.wbufsize or client.request.has_messages:
            if server._turn is run_plain_turn:
                server._turn = run_turn
            return run_turn(server, client)
    request = client.request
    size = server._first_read
    for _ in REQUESTS:
        if request.unread:
            if untaken and request in untaken and (ended := wait_for_more(request)) is not None:
                return ended
            data, at = request.unread, request.unread_at
        else:
            at = 0
            try:
                data = recv(request, size, MSG_DONTWAIT)
            except BlockingIOError:
                break
            if not data:
                return END
            request.unread = data
            if len(data) < size:
                request.reads_left = 0
            else:
                request.reads_left = READS_BEFORE_YIELD
                if size < FIRST_READ_SIZE:
                    server._first_read = size = FIRST_READ_SIZE
        handler.handle_one_request()
        if handler.close_connection or request._closed:
            return END
        if request.unread:
            if request.unread is data and request.unread_at == at:
                ended = wait_for_more(request)
                if ended is not None:
                    return ended
        elif not request.reads_left:
            break
    else:
        return GO_ON
    return PARK


def run_lingering_turn(
    server: Any, client: Client, linger: float, crowd: Crowd | None, turn: Lingering
) -> Outcome:
    """Run one turn where a thread or child blocks for it, with a blocking request.

    After each answer the client keeps its thread or child for up to `linger` seconds of silence:
    a native thread costs 50-100 us to start, a child 1.7 ms, far more than most turns. While others
    wait for its place (`crowd`), it keeps a silent client not at all, and a busy one for no longer
    than `linger`: that leaves everybody a turn, and most exchanges without a new child.
    """
    handler = client.handler
    if client.state is ENDING:
        return END
    if handler is None:
        linger *= FIRST_LINGER
        handler = open_handler(server, client)
        if handler is None:
            return END
    if not reads_through_request(handler):
        handler.handle()
        return END
    request = client.request
    if not handler.rbufsize or request.has_messages:
        return run_unbuffered_turn(client)
    if untaken and request in untaken and (ended := wait_for_more(request)) is not None:
        return ended
    outcome = _linger(server, client, linger, crowd, turn)
    if outcome is not END:
        request.end_lingering()
    return outcome


def _linger(
    server: Any, client: Client, linger: float, crowd: Crowd | None, turn: Lingering
) -> Outcome:
    handler, request = client.handler, client.request
    # A child's half of a request could not come back to the parent.
    is_whole = server._shape().is_whole if server._shares_unread else None
    keep_until = monotonic() + linger
    hears_out = True
    while True:
        if not request.unread:
            data = _wait_for_bytes(client, linger, crowd, turn)
            if data is None:
                break
            if not data:
                return END
            request.unread = data
        if is_whole is not None and not (request.receive_whole(is_whole) or server.draining):
            break
        data, at = request.unread, request.unread_at
        handler.handle_one_request()
        if handler.close_connection or request._closed:
            return END
        if data and request.unread is data and request.unread_at == at:
            outcome = _linger_for_more(server, client, linger, crowd, turn)
            if outcome is not None:
                return outcome
        if server.draining and not request.unread:
            if not (hears_out and _take_arrived(request)):
                break
            hears_out = False
        if crowd is not None and monotonic() > keep_until:
            if crowd.is_waiting():
                if request.unread:
                    return GO_ON
                break
            keep_until = monotonic() + linger
    if handler.wbufsize:
        handler.wfile.flush()
    return PARK


def _wait_for_bytes(
    client: Client, linger: float, crowd: Crowd | None, turn: Lingering
) -> bytes | None:
    """What the client says next; b"" at the end of the stream, None if it was silent."""
    if client.handler.wbufsize:
        client.handler.wfile.flush()
    turn.silent_since = monotonic()
    data: bytes | None = client.request.receive_within(linger, crowd)
    if data is not None:
        turn.silent_since = 0.0
    return data


def _linger_for_more(
    server: Any, client: Client, linger: float, crowd: Crowd | None, turn: Lingering
) -> Outcome | None:
    """As `wait_for_more`, but wait a while.

    In a child, whose bytes nobody else has, until it comes, as a read of the handler's would.
    """
    request = client.request
    data = _wait_for_bytes(client, linger, crowd, turn)
    if data is None:
        if server._shares_unread:
            untaken.add(request)
            return PARK
        return None if request.await_more() else END
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


def serve_turn(
    server: Any, client: Client, run: Callable[[Any, Client], Outcome] = run_turn
) -> Outcome:
    """Run a turn to its outcome; if that is END, the client was ended as the hooks want it.

    Raises:
        BaseException: what the handler raised that is no Exception; the client is ended too.
    """
    try:
        outcome = run(server, client)
    except BaseException as error:  # noqa: BLE001 - raised again if it is no error
        endings.end_after(server, client, error)
        return END
    if outcome is END:
        endings.end(server, client)
    return outcome


def only_open(server: Any, client: Client) -> Outcome:
    """Make the client's handler and no more; PARK if there is one."""
    return END if open_handler(server, client) is None else PARK


def serve_turn_of_many(
    server: Any, client: Client, run: Callable[[Any, Client], Outcome] = run_turn
) -> Outcome:
    """Run a turn beside others: what would end a thread ends this client only.

    Raises:
        BaseException: in the main greenlet, what is for the program's owner.
    """
    try:
        outcome = run(server, client)
    except BaseException as error:  # noqa: BLE001 - raised again if it is the owner's
        endings.end_one_of_many(server, client, error)
        return END
    if outcome is END:
        endings.end_one_of_many(server, client)
    return outcome


def wants_turn(client: Client) -> bool:
    """Whether there is something to do for a client who became ready; may say it is ENDING.

    A thread or child that is started only to find that its client has left costs 30 to 1,000 times
    what this look does, and a crowd of idle clients who leave together would start one each.
    """
    if client.state is ENDING or client.request._closed:
        client.state = ENDING
        return True
    try:
        first = client.request.peek_now()
    except OSError:
        first = b""
    if first == b"":
        client.state = ENDING
    return first is not None
