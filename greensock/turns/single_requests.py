"""One request of a handler whose turns the server runs, and what shows after it.

The handler may have left all that is there untouched, or put something in the place of what the
server reads through: another reader, TLS within the connection, another protocol.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from greensock.handlers import wrapped_handle
from greensock.handlers.classes import ask_on
from greensock.handlers.making import is_seen_through
from greensock.handlers.traits import HandlerTraits
from greensock.handlers.untaken import wait_for_more
from greensock.lot.client import Client
from greensock.lot.outcomes import END, Outcome

#: Called for a client whose handler has left all untouched: None once there is more, else how the
#: turn ends.
ForMore = Callable[[Any], Outcome | None]


def run_alone(client: Client, traits: HandlerTraits) -> Outcome:
    """Run a handler to its end that reads by other ways than the server can see.

    TLS put on within the connection, another protocol after an upgrade: from then on it keeps what
    it runs in, as a handler of its own does from the beginning.
    """
    handler = client.handler
    if not traits.closes_by_default:
        ask_on(handler)
    elif not traits.one_at_a_time:
        wrapped_handle.loop(handler)
    elif not handler.close_connection:
        wrapped_handle.handle_rest(handler)
    return END


def is_changed(handler: Any, request: Any, rfile: Any) -> bool:
    """Whether a handler, whose reader was `rfile`, reads by ways that the server does not see."""
    return (
        handler.rfile is not rfile or handler.connection is not request
    ) and not is_seen_through(handler, request)


def serve_one(
    client: Client,
    traits: HandlerTraits,
    run: Callable[[], object],
    for_more: ForMore = wait_for_more,
) -> Outcome | None:
    """Serve one request by `run`; return how its turn ends, or None if that may go on."""
    handler, request = client.handler, client.request
    rfile, asks = handler.rfile, handler.handle_one_request
    data, at = request.unread, request.unread_at
    run()
    if handler.handle_one_request != asks or is_changed(handler, request, rfile):
        return run_alone(client, traits)
    if handler.close_connection or request._closed:
        return END
    if data and request.unread is data and request.unread_at == at:
        return for_more(request)
    return None
