"""Turns of TLS clients: the handshake, and what is different in the turns after it.

A handshake is just turns. Its client is parked while it waits for bytes, like any other, with what
is left of `handshake_timeout` for its timeout: half-open handshakes cost no greenlet and no thread,
and clients who never say anything not even an OpenSSL connection. It runs where the handler will:
its arithmetic, up to a millisecond, in the thread or child where there is one.

A client becomes readable without having said anything to the handler: by a part of a record, a
change of keys, an alert. So a turn begins by decrypting what is there; `Turns.run_any` reads the
descriptor only where it has been given nothing, and is called here with a record at hand.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Any

from greensock.hub.workers.demand import Demand
from greensock.hub.workers.kept_children import KeptChild
from greensock.lot.client import Client
from greensock.lot.outcomes import END, GO_ON, PARK, Lingering, Outcome
from greensock.stats import Counters
from greensock.tls.sockets import TlsSocket
from greensock.turns import kept as kept_turns
from greensock.turns import lingering
from greensock.turns.plain import Turns

if TYPE_CHECKING:
    from greensock.serving.service import Service

_log = logging.getLogger("greensock.tls")


def is_tls(request: Any) -> bool:
    """Whether `request` is one of ours; isinstance would ask its `__class__`, which says more."""
    return issubclass(type(request), TlsSocket)


def note_failure(counters: Counters, request: Any, client_address: Any, error: object) -> None:
    """Count and log a handshake that came to nothing: the one trace that it leaves."""
    request.handshake_done = True
    counters.add("handshakes_failed")
    _log.debug("%r made no TLS handshake: %s", client_address, error)


def greet(counters: Counters, request: Any, client_address: Any) -> bool:
    """Complete a request's handshake here and now, if it has one; False if it failed."""
    if not is_tls(request) or request.handshake_done:
        return True
    try:
        request.do_handshake(block=True)
    except OSError as error:
        note_failure(counters, request, client_address, error)
        return False
    return True


class TlsTurns(Turns):
    """The turns of TLS clients, and of plain ones who are left from an earlier listener."""

    #: Of the server whose clients these are.
    counters: Counters

    def _first_run(self) -> Callable[[Client], Outcome]:
        return self._run_tls

    def followed_by(self, new: Turns) -> Turns:
        """Those who have a session have one still where newcomers come without."""
        if isinstance(new, TlsTurns):
            return new
        self.traits = new.traits
        return self

    def note_left(self, client: Client) -> None:
        """Whose handshake was still to come, it has failed."""
        request = client.request
        if is_tls(request) and not request.handshake_done:
            note_failure(self.counters, request, client.address, "it has left")

    def _run_tls(self, client: Client) -> Outcome:
        request = client.request
        if not is_tls(request):
            return self.run_any(client)
        if not request.handshake_done:
            if client.lot is None:
                # Nobody would take it back: a hook of the program runs this request whole.
                if not greet(self.counters, request, client.address):
                    return END
            elif (outcome := self._go_on_with_handshake(client)) is not None:
                return outcome
        if client.handler is None and self.current_traits().begins_unprompted:
            handler = self.open_handler(client)
            if handler is None or request._closed:
                return END
            if handler.wbufsize:
                handler.wfile.flush()
        while True:
            if not request.unread and (outcome := self._take_record(client)) is not None:
                return outcome
            outcome = self.run_any(client)
            if outcome is not PARK or request._closed or not request.has_pending():
                return outcome

    def _go_on_with_handshake(self, client: Client) -> Outcome | None:
        """Go on with a handshake; None once it is over, else how this turn ends."""
        try:
            return None if client.request.handshake_now() else PARK
        except OSError as error:
            note_failure(self.counters, client.request, client.address, error)
            return END

    def _take_record(self, client: Client) -> Outcome | None:
        """Put what has come into `unread`; if nothing has, say how this turn ends."""
        request = client.request
        try:
            data = request.read_now()
        except OSError as error:
            # No handler was reading: nobody but the client has anything to do with it.
            self.counters.add("disconnects")
            _log.debug("%r broke off: %r", client.address, error)
            return END
        if data is None:
            return PARK
        request.unread = data
        return None if data else END

    def run_lingering(
        self, client: Client, linger: float, demand: Demand | None, turn: Lingering
    ) -> Outcome:
        """Run one turn in a thread or child."""
        request = client.request
        if not is_tls(request):
            return super().run_lingering(client, linger, demand, turn)
        if not request.handshake_done:
            if client.lot is None:
                if not greet(self.counters, request, client.address):
                    return END
            elif (outcome := self._linger_over_handshake(client, linger, demand)) is not None:
                return outcome
        begins = client.handler is not None or self.current_traits().begins_unprompted
        if not begins and not request.unread:
            data = request.receive_within(linger * lingering.FIRST_LINGER, demand)
            if data is None:
                return PARK
            if not data:
                return END
            request.unread = data
        outcome = super().run_lingering(client, linger, demand, turn)
        if outcome is PARK and not request._closed and request.has_pending():
            return GO_ON
        return outcome

    def _linger_over_handshake(
        self, client: Client, linger: float, demand: Demand | None
    ) -> Outcome | None:
        """As `_go_on_with_handshake`, but wait a while for the client's side of it."""
        keep_until = monotonic() + linger
        while True:
            outcome = self._go_on_with_handshake(client)
            if outcome is not PARK:
                return outcome
            if not client.request.await_bytes(keep_until - monotonic(), demand):
                return PARK


def run_kept(service: Service, client: Client, kept: KeptChild) -> Outcome:
    """Run all turns of a client in the one child that has its session, from the handshake on."""
    if not _greet_in_child(service, client, kept):
        return END
    return kept_turns.run_all(service, client, kept)


def _greet_in_child(service: Service, client: Client, kept: KeptChild) -> bool:
    """Complete the handshake; False if there is no session."""
    request, server = client.request, service.server
    try:
        while not request.handshake_now():
            patience = kept_turns.LAST_CHANCE if server.draining else request.timeout
            is_dismissed = not kept.begin_silence(monotonic())
            if is_dismissed or not request.await_bytes(patience, kept.demand):
                # Either its time is over, or it is not to be waited for.
                is_dismissed = is_dismissed or server.draining or kept.demand.is_waiting()
                if is_dismissed:
                    raise ConnectionAbortedError("it was not waited for")
            kept.end_silence()
    except OSError as error:
        note_failure(service.counters, request, client.address, error)
        return False
    return True
