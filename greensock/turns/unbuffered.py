"""Turns of handlers with `rbufsize = 0`, which alone read what their client sends."""

from __future__ import annotations

from typing import Any

from greensock.handlers.traits import HandlerTraits
from greensock.handlers.untaken import (
    await_more,
    end_wait,
    size_in_kernel,
    wait_for_more,
    wait_in_kernel,
)
from greensock.lot.client import Client
from greensock.lot.outcomes import END, GO_ON, PARK, REQUESTS, Outcome
from greensock.sockets.requests import UNTOUCHED, untaken
from greensock.turns.single_requests import serve_one


def run_unbuffered_turn(client: Client, traits: HandlerTraits, keeps_unread: bool) -> Outcome:
    (
        """Run one turn of a handler with `rbufsize = 0`: nothing is read but by itself.

    Such handlers pass the descriptor on, to a subprocess say, which must find what they left.

    Args:
        keeps_unread: whether what this has received and not read is there for the next turn.
    """
        ""
    )
    handler, request = client.handler, client.request
    if untaken and request in untaken:
        if not request.unread:
            end_wait(request)
        elif (outcome := wait_for_more(request)) is not None:
            return outcome
    run = traits.runner_of(handler)
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
        outcome = serve_one(client, traits, run, _leave_to_caller)
        if outcome is not None:
            return outcome
        if request.unread is data and request.unread_at == at:
            _flush(handler)
            size, outcome = _wait(request, size, keeps_unread)
            if outcome is not None:
                return outcome
    else:
        return GO_ON
    _flush(handler)
    return PARK if first is None else END


def _wait(request: Any, size: int, may_park: bool) -> tuple[int, Outcome | None]:
    """After a handler that has received nothing, where it had left `size` bytes in the kernel.

    How many it has left now, and how the turn ends, or None. A child may not park: its parent would
    know nothing of what is unread, and not what is waited for.
    """
    if request.unread and not may_park:
        return -1, None if await_more(request) else END
    if request.unread:
        return -1, wait_for_more(request)
    request.unread_at = 0
    now = size_in_kernel(request)
    if not now or now != size:
        # Perhaps passed on to somebody who has received.
        return now, None
    return now, wait_in_kernel(request, now, may_park=may_park)


def _leave_to_caller(_: Any) -> None:
    """What the handler has left is seen to by `_wait`."""


def _flush(handler: Any) -> None:
    if handler.wbufsize:
        handler.wfile.flush()
