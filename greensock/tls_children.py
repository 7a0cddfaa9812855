"""All turns of a TLS client in the one child that has its session.

Between two turns the client is waited for here, as the lot waits for parked ones: for as long as
its timeout says, and no longer than its parent wants (see `greensock.hub.kept_children`).
"""

from __future__ import annotations

from time import monotonic
from typing import Any

from greensock import draining, tls_turns
from greensock.hub.kept_children import KeptChild
from greensock.hub.lot import Client
from greensock.turns import END, PARK, Outcome

# In a child that was forked during a drain: seconds for the client to say what it came for.
_LAST_CHANCE = draining.QUEUE_GRACE


def run_turns(server: Any, client: Client, kept: KeptChild) -> Outcome:
    """Run all turns of a client, from its handshake on."""
    # In the parent, nobody could run a turn of it.
    server._shape().request_wise = True
    request = client.request
    if not _greet(server, client, kept):
        return END
    while True:
        outcome = tls_turns.run_lingering_turn(server, client, 0.0, None, kept.mark)
        if outcome is END:
            return END
        if outcome is PARK:
            request.unread = _next_bytes(server, client, kept)
            if not request.unread:
                return END


def _greet(server: Any, client: Client, kept: KeptChild) -> bool:
    """Complete the handshake; False if there is no session."""
    request = client.request
    try:
        while not request.handshake_now():
            patience = _LAST_CHANCE if server.draining else request.timeout
            is_dismissed = not kept.begin_silence(monotonic())
            if is_dismissed or not request._await_bytes(patience, kept.crowd):
                # Either its time is over, or it is not to be waited for.
                is_dismissed = is_dismissed or server.draining or kept.crowd.is_waiting()
                if is_dismissed:
                    raise ConnectionAbortedError("it was not waited for")
            kept.end_silence()
    except OSError as error:
        tls_turns.note_failure(server, request, client.address, error)
        return False
    return True


def _next_bytes(server: Any, client: Client, kept: KeptChild) -> bytes:
    """What the client says next; b"" if it says no more, or is not to be waited for."""
    request = client.request
    patience = request.timeout
    if server.draining:
        if client.handler is not None:
            kept.end_silence()
            return b""
        patience = _LAST_CHANCE
    # The turn has looked for more already; the drain may have begun since.
    began = kept.mark.silent_since or monotonic()
    if not kept.begin_silence(began):
        return b""
    data: bytes | None = request.receive_within(patience, kept.crowd)
    if data is not None:
        kept.end_silence()
        return data
    if kept.crowd.is_waiting():
        if began < kept.mark.drained_at:
            draining.say_goodbye(server, client)
    else:
        kept.end_silence()
        server._note_silence(client)
    return b""
