"""All turns of a TLS client in the one child that has its session, from the handshake on."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from greensock import kept_turns, tls_turns
from greensock.hub.kept_children import KeptChild
from greensock.hub.lot import Client
from greensock.outcomes import END, Outcome

if TYPE_CHECKING:
    from greensock.service import Service


def run_all(service: Service, client: Client, kept: KeptChild) -> Outcome:
    """Run all turns of a client."""
    if not _greet(service, client, kept):
        return END
    return kept_turns.run_all(service, client, kept)


def _greet(service: Service, client: Client, kept: KeptChild) -> bool:
    """Complete the handshake; False if there is no session."""
    request, server = client.request, service.server
    try:
        while not request.handshake_now():
            patience = kept_turns.LAST_CHANCE if server.draining else request.timeout
            is_dismissed = not kept.begin_silence(monotonic())
            if is_dismissed or not request._await_bytes(patience, kept.crowd):
                # Either its time is over, or it is not to be waited for.
                is_dismissed = is_dismissed or server.draining or kept.crowd.is_waiting()
                if is_dismissed:
                    raise ConnectionAbortedError("it was not waited for")
            kept.end_silence()
    except OSError as error:
        tls_turns.note_failure(service.counters, request, client.address, error)
        return False
    return True
