"""A turn: what is done for a client from "bytes are there" until its handler has used them up.

The same for every mixin; a mixin only says where it runs. Nothing here touches the lot: a turn
tells how it ended, and whoever runs turns parks, goes on with or forgets the client.
"""

from __future__ import annotations

from _socket import MSG_DONTWAIT
from collections.abc import Callable
from typing import Any

from greensock import endings
from greensock.handler_making import being_made, is_seen_through
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
from greensock.single_requests import run_alone, serve_one
from greensock.streams import FIRST_READ_SIZE
from greensock.unbuffered_turns import run_unbuffered_turn
from greensock.untaken import wait_for_more


def open_handler(server: Any, client: Client) -> Any:
    """Make the client's handler through `finish_request`; None if that has run it whole."""
    request = client.request
    shape = server._gs_shape()
    if not shape.request_wise:
        server.finish_request(request, client.address)
        return None
    key = id(request)
    being_made[key] = client, shape
    try:
        server.finish_request(request, client.address)
    finally:
        del being_made[key]
    handler = client.handler
    if handler is not None and (
        shape.closes_by_default or not hasattr(handler, "close_connection")
    ):
        handler.close_connection = shape.closes_by_default
    return handler


def run_turn(server: Any, client: Client) -> Outcome:
    """Run one turn on the hub, with a cooperative request."""
    handler = client.handler
    if handler is None or client.state is ENDING:
        return run_plain_turn(server, client)
    if not handler.rbufsize or client.request.has_messages:
        return run_unbuffered_turn(server, client)
    if server._gs_shape().closes_by_default:
        return _run_http_turn(server, client)
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
            if server._gs_turn is run_plain_turn:
                server._gs_turn = run_turn
            return run_turn(server, client)
    request, rfile = client.request, handler.rfile
    size = server._gs_first_read
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
                    server._gs_first_read = size = FIRST_READ_SIZE
        handler.handle_one_request()
        if handler.rfile is not rfile or handler.connection is not request:
            if not is_seen_through(handler, request):
                return run_alone(server, client)
            rfile = handler.rfile
        if handler.close_connection or request._closed:
            return END
        if request.unread:
            is_untaken = request.unread is data and request.unread_at == at
            if is_untaken and (ended := wait_for_more(request)) is not None:
                return ended
        elif not request.reads_left:
            break
    else:
        return GO_ON
    return PARK


def _run_http_turn(server: Any, client: Client) -> Outcome:
    """Run one turn of a handler of http.server's, for what has been received already."""
    request = client.request
    if untaken and request in untaken and (ended := wait_for_more(request)) is not None:
        return ended
    run = server._gs_shape().runner_of(client.handler)
    for _ in REQUESTS:
        if not request.unread:
            return PARK
        outcome = serve_one(server, client, run)
        if outcome is not None:
            return outcome
    return GO_ON


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
        endings.end_one_of_many(server, client, None)
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
