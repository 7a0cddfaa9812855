"""Turns of handlers with `rbufsize = 0`, which alone read what their client sends."""

from __future__ import annotations

from greensock.hub.lot import Client
from greensock.net.request_sockets import UNTOUCHED
from greensock.outcomes import END, GO_ON, PARK, REQUESTS, Outcome
from greensock.untaken import comes_more, size_in_kernel, wait_for_more


def run_unbuffered_turn(client: Client) -> Outcome:
    """Run one turn of a handler with `rbufsize = 0`: nothing is read but by itself.

    Such handlers pass the descriptor on, to a subprocess say, which must find what they left.
    """
    handler, request = client.handler, client.request
    size = -1
    for _ in REQUESTS:
        if request._closed:
            return END
        first = request.peek_now()
        if not first:
            break
        # Of TLS, it is a record that was read; else a mark that receiving takes away.
        data, at = request.unread, request.unread_at
        if not data:
            at = request.unread_at = UNTOUCHED
        handler.handle_one_request()
        if handler.close_connection or request._closed:
            return END
        if request.unread is not data or request.unread_at != at:
            continue
        if data:
            outcome = wait_for_more(request)
            if outcome is not None:
                return outcome
        else:
            # Unless it was passed on to somebody who has received.
            request.unread_at = 0
            before, size = size, size_in_kernel(request)
            if size and size == before and not comes_more(request, size):
                return END
    else:
        return GO_ON
    if handler.wbufsize:
        handler.wfile.flush()
    return PARK if first is None else END
