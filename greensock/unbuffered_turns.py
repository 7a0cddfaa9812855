"""Turns of handlers with `rbufsize = 0`, which alone read what their client sends."""

from __future__ import annotations

from typing import Any

from greensock.hub.lot import Client
from greensock.net.request_sockets import UNTOUCHED
from greensock.outcomes import END, GO_ON, PARK, REQUESTS, Outcome
from greensock.single_requests import serve_one
from greensock.untaken import comes_more, size_in_kernel


def run_unbuffered_turn(server: Any, client: Client) -> Outcome:
    """Run one turn of a handler with `rbufsize = 0`: nothing is read but by itself.

    Such handlers pass the descriptor on, to a subprocess say, which must find what they left.
    """
    handler, request = client.handler, client.request
    run = server._gs_shape().runner_of(handler)
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
        outcome = serve_one(server, client, run)
        if outcome is not None:
            return outcome
        if not data and request.unread is data and request.unread_at == at:
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
