"""Turns of TLS clients: the handshake, and what is different in the turns after it.

A handshake is just turns. Its client is parked while it waits for bytes, like any other, with what
is left of `handshake_timeout` for its timeout: half-open handshakes cost no greenlet and no thread,
and clients who never say anything not even an OpenSSL connection. It runs where the handler will:
its arithmetic, up to a millisecond, in the thread or child where there is one.

A client becomes readable without having said anything to the handler: by a part of a record, a
change of keys, an alert. So a turn begins by decrypting what is there; `turns.run_turn` reads the
descriptor only where it has been given nothing, and is called here with a record at hand.
"""

from __future__ import annotations

import logging
from time import monotonic
from typing import Any

from greensock import kept_turns, lingering_turns, turns
from greensock.hub.crowd import Crowd
from greensock.hub.kept_children import KeptChild
from greensock.hub.lot import ENDING, Client
from greensock.net.tls_sockets import TlsSocket
from greensock.turns import END, GO_ON, PARK, Lingering, Outcome

_log = logging.getLogger("greensock.tls")


def is_tls(request: Any) -> bool:
    """Whether `request` is one of ours; isinstance would ask its `__class__`, which says more."""
    return issubclass(type(request), TlsSocket)


def note_failure(server: Any, request: Any, client_address: Any, error: object) -> None:
    """Count and log a handshake that came to nothing: the one trace that it leaves."""
    request.handshake_done = True
    server._gs_counters.add("handshakes_failed")
    _log.debug("%r made no TLS handshake: %s", client_address, error)


def greet(server: Any, request: Any, client_address: Any) -> bool:
    """Complete a request's handshake here and now, if it has one; False if it failed."""
    if not is_tls(request) or request.handshake_done:
        return True
    try:
        request.do_handshake(block=True)
    except OSError as error:
        note_failure(server, request, client_address, error)
        return False
    return True


def run_turn(server: Any, client: Client) -> Outcome:
    """Run one turn on the hub, as `turns.run_turn` does for others."""
    request = client.request
    if not is_tls(request):
        return turns.run_turn(server, client)
    if client.state is ENDING:
        if not request.handshake_done:
            note_failure(server, request, client.address, "it has left")
        return END
    if not request.handshake_done:
        if client.lot is None:
            # Nobody would take it back: a hook of the program runs this request whole.
            if not greet(server, request, client.address):
                return END
        elif (outcome := _go_on_with_handshake(server, client)) is not None:
            return outcome
    if client.handler is None and server._gs_shape().begins_unprompted:
        if turns.open_handler(server, client) is None or request._closed:
            return END
        _flush(client)
    while True:
        if not request.unread and (outcome := _take_record(server, client)) is not None:
            return outcome
        outcome = turns.run_turn(server, client)
        if outcome is not PARK or request._closed or not request._has_pending():
            return outcome


def _flush(client: Client) -> None:
    if client.handler.wbufsize:
        client.handler.wfile.flush()


def _go_on_with_handshake(server: Any, client: Client) -> Outcome | None:
    """Go on with a handshake; None once it is over, else how this turn ends."""
    try:
        return None if client.request.handshake_now() else PARK
    except OSError as error:
        note_failure(server, client.request, client.address, error)
        return END


def _take_record(server: Any, client: Client) -> Outcome | None:
    """Put what has come into `unread`; if nothing has, say how this turn ends."""
    request = client.request
    try:
        data = request.read_now()
    except OSError as error:
        # No handler was reading: nobody but the client has anything to do with it.
        server._gs_counters.add("disconnects")
        _log.debug("%r broke off: %r", client.address, error)
        return END
    if data is None:
        return PARK
    request.unread = data
    return None if data else END


def run_lingering_turn(
    server: Any, client: Client, linger: float, crowd: Crowd | None, turn: Lingering
) -> Outcome:
    """Run one turn in a thread, as `lingering_turns.run_lingering_turn` does for others."""
    request = client.request
    if client.state is ENDING or not is_tls(request):
        return lingering_turns.run_lingering_turn(server, client, linger, crowd, turn)
    if not request.handshake_done:
        if client.lot is None:
            if not greet(server, request, client.address):
                return END
        elif (outcome := _linger_over_handshake(server, client, linger, crowd)) is not None:
            return outcome
    if client.handler is None and not server._gs_shape().begins_unprompted and not request.unread:
        data = request.receive_within(linger * lingering_turns.FIRST_LINGER, crowd)
        if data is None:
            return PARK
        if not data:
            return END
        request.unread = data
    outcome = lingering_turns.run_lingering_turn(server, client, linger, crowd, turn)
    if outcome is PARK and not request._closed and request._has_pending():
        return GO_ON
    return outcome


def _linger_over_handshake(
    server: Any, client: Client, linger: float, crowd: Crowd | None
) -> Outcome | None:
    """As `_go_on_with_handshake`, but wait a while for the client's side of it."""
    keep_until = monotonic() + linger
    while True:
        outcome = _go_on_with_handshake(server, client)
        if outcome is not PARK:
            return outcome
        if not client.request._await_bytes(keep_until - monotonic(), crowd):
            return PARK


def run_kept_turns(server: Any, client: Client, kept: KeptChild) -> Outcome:
    """Run all turns of a client in the one child that has its session, from the handshake on."""
    if not _greet_in_child(server, client, kept):
        return END
    return kept_turns.run_turns(server, client, kept, run_lingering_turn)


def _greet_in_child(server: Any, client: Client, kept: KeptChild) -> bool:
    """Complete the handshake; False if there is no session."""
    request = client.request
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
        note_failure(server, request, client.address, error)
        return False
    return True
