"""Requests that begin only once they are whole.

Where the server can tell where a request ends, it receives it itself: until then its client stays
parked, and half a request, however slowly the rest comes, costs no greenlet, thread or child.
"""

from __future__ import annotations

from typing import Any

from greensock import endings, turns, wrapped_handle
from greensock.handler_making import is_replaced
from greensock.hub.lot import ENDING, Client
from greensock.net.request_sockets import untaken
from greensock.request_ends import IsWhole
from greensock.single_requests import is_changed, run_alone, serve_one
from greensock.streams import FIRST_READ_SIZE
from greensock.turns import Outcome
from greensock.untaken import wait_for_more


def has_spoken(server: Any, client: Client, shape: Any) -> bool:
    """Receive what a newcomer has said already; say whether there is something to do for it.

    Most that speak first have spoken by the time they are accepted. Such a one needs no watcher
    before its first turn; in a thread, if it hangs up after its answer, none at all.
    """
    if not shape.reads_ahead:
        return False
    if shape.is_whole is not None:
        return _receives(server, client, shape.is_whole)
    request = client.request
    try:
        request.unread = request.receive_now(FIRST_READ_SIZE) or b""
    except OSError as error:
        return _lose(server, client, error)
    return bool(request.unread)


def may_begin(server: Any, client: Client) -> bool:
    """Whether a turn of a ready client may begin: its request is whole, or will never be."""
    is_whole = _judge_of(server, client)
    return is_whole is None or _receives(server, client, is_whole) or begins_anyway(server, client)


def _judge_of(server: Any, client: Client) -> IsWhole | None:
    """What tells whether the client's next request is whole; None if nothing does."""
    shape, handler = server._gs_shape(), client.handler
    if client.state is ENDING or not (shape.reads_ahead if handler is None else handler.rbufsize):
        return None
    judge: IsWhole | None = shape.is_whole
    return judge


def _receives(server: Any, client: Client, is_whole: IsWhole) -> bool:
    try:
        return bool(client.request.receive_whole(is_whole))
    except OSError as error:
        return _lose(server, client, error)


def _lose(server: Any, client: Client, error: OSError) -> bool:
    """In an `except` clause: the connection is broken."""
    endings.tell_beside(server, client.request, client.address, error)
    client.state = ENDING
    return True


def run_turn(server: Any, client: Client) -> Outcome:
    """Run one turn on the hub, as `turns.run_turn` does where requests have no known end."""
    shape = server._gs_shape()
    begins_first = client.handler is None and not shape.reads_ahead and shape.is_whole is not None
    if begins_first and client.state is not ENDING and turns.open_handler(server, client) is None:
        return turns.END
    is_whole = _judge_of(server, client)
    if is_whole is None:
        return turns.run_turn(server, client)
    handler, request = client.handler, client.request
    if untaken and request in untaken and (outcome := wait_for_more(request)) is not None:
        return outcome
    for _ in turns.REQUESTS:
        try:
            begins = request.receive_whole(is_whole) or begins_anyway(server, client)
        except OSError as error:
            if handler is None or not shape.one_at_a_time:
                raise
            # Its own handle() would have met it.
            wrapped_handle.meet(handler, error)
            return turns.END
        if not begins:
            break
        if handler is None and (handler := turns.open_handler(server, client)) is None:
            return turns.END
        if not request.unread:
            return turns.END
        data, at = request.unread, request.unread_at
        if shape.closes_by_default:
            outcome = serve_one(server, client, shape.runner_of(handler))
            if outcome is not None:
                return outcome
        else:
            rfile = handler.rfile
            handler.handle_one_request()
            if is_changed(handler, request, rfile):
                return run_alone(server, client)
            if handler.close_connection or request._closed:
                return turns.END
        if not request.unread:
            break
        if request.unread is data and request.unread_at == at:
            outcome = wait_for_more(request)
            if outcome is not None:
                return outcome
    else:
        return turns.GO_ON
    if handler is not None and handler.wbufsize:
        handler.wfile.flush()
    return turns.PARK


def begins_anyway(server: Any, client: Client) -> bool:
    """Whether what is there of a request is given to its handler, whole or not."""
    handler = client.handler
    return bool(client.request.unread) and (
        # The handler speaks another protocol by now, of which nobody knows what is whole.
        server.draining or (handler is not None and is_replaced(handler, "handle_one_request"))
    )
