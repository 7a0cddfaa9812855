"""All turns of a client in one child, which keeps it: what a child cannot give back.

A handler with a setup() or constructor of its own keeps there what nobody else can have: the user
that its process has become, a TLS session. Between two turns the client is waited for in the child,
as the lot waits for parked ones: for as long as its timeout says, and no longer than its parent
wants (see `greensock.hub.workers.kept_children`).
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from greensock.hub.waiting import READ
from greensock.hub.workers.kept_children import KeptChild
from greensock.lot.client import Client
from greensock.lot.outcomes import END, PARK, Outcome
from greensock.noted import option_limits
from greensock.turns.goodbyes import QUEUE_GRACE, say_goodbye

if TYPE_CHECKING:
    from greensock.serving.service import Service

#: In a child that was forked during a drain: seconds for the client to say what it came for.
LAST_CHANCE = QUEUE_GRACE


def run_all(service: Service, client: Client, kept: KeptChild) -> Outcome:
    """Run all turns of a client."""
    turns, request = service.turns, client.request
    # In the parent, nobody could run a turn of it.
    turns.current_traits().request_wise = True
    while True:
        outcome = turns.run_lingering(client, 0.0, None, kept.mark)
        if outcome is END:
            return END
        if outcome is PARK:
            request.unread = _next_bytes(service, client, kept)
            if not request.unread:
                return END


def _next_bytes(service: Service, client: Client, kept: KeptChild) -> bytes:
    """What the client says next; b"" if it says no more, or is not to be waited for."""
    request = client.request
    bounds = (request.timeout, option_limits.of_waiting(request, READ))
    patience = min((each for each in bounds if each is not None), default=None)
    if service.server.draining:
        if client.handler is not None:
            kept.end_silence()
            return b""
        patience = LAST_CHANCE
    # The turn has looked for more already; the drain may have begun since.
    began = kept.mark.silent_since or monotonic()
    if not kept.begin_silence(began):
        return b""
    data: bytes | None = request.receive_within(patience, kept.demand)
    if data is not None:
        kept.end_silence()
        return data
    if kept.demand.is_waiting():
        if began < kept.mark.drained_at:
            say_goodbye(service, client)
    else:
        kept.end_silence()
        service.note_silence(client)
    return b""
