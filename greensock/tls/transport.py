"""TLS for a server: what serve_forever changes when there is a context to serve with.

Loaded by the first server that has one.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from greensock.handlers.traits import HandlerTraits
from greensock.hub.workers.kept_children import KeptChild
from greensock.lot.client import Client
from greensock.lot.outcomes import Outcome
from greensock.net import listening
from greensock.serving.transport import Transport
from greensock.sockets.requests import OriginalSocket
from greensock.tls import contexts
from greensock.tls import turns as tls_turns
from greensock.tls.farewells import Farewells
from greensock.tls.sessions import Terms
from greensock.tls.sockets import BlockingTlsSocket, TlsSocket
from greensock.tls.turns import TlsTurns
from greensock.turns.plain import Turns

if TYPE_CHECKING:
    from greensock.serving.service import Service

# Seconds for a client to read until there is room for close_notify, where the program has set
# neither of the timeouts that say how long it bears with such clients. As `handshake_timeout`.
_FAREWELL = 10.0


class TlsTransport(Transport):
    """Serves the clients that a server accepts from now on over TLS.

    Args:
        service: of that server.
        before: what its clients spoke by until now.

    Raises:
        TypeError: `ssl_context` is no context, or the server is none of streams.
        ValueError: `handshake_timeout` is no time.
    """

    has_sessions = True

    def __init__(self, service: Service, before: Transport | None) -> None:
        super().__init__(service)
        server = self._server = service.server
        _check(service)
        listener = server.socket
        if listening.is_ssl_socket(listener):
            # For programs whose own get_request accepts from it: no handshake there.
            listener.do_handshake_on_connect = False
        self._terms = Terms(
            functools.partial(context_of, service),
            server.handshake_timeout,
            getattr(listener, "suppress_ragged_eofs", True),
            self._see_off,
        )
        #: Sessions that wait to say their last word.
        self._farewells: Farewells = (
            before._farewells if isinstance(before, TlsTransport) else Farewells()
        )

    def traits_of(self, handler_class: Any) -> HandlerTraits:
        """As for others; all are parked until their first byte."""
        return HandlerTraits(handler_class).over_tls(self._service.runner.in_children)

    def new_request(self) -> Callable[..., OriginalSocket]:
        """What makes a request of an accepted descriptor."""
        kind = TlsSocket if self._service.runner.runs_on_hub() else BlockingTlsSocket
        return functools.partial(kind, terms=self._terms)

    def new_turns(self, traits: HandlerTraits, *others: Any) -> Turns:
        """Turns that begin with a handshake, but those of clients who came without."""
        turns = TlsTurns(self._server, traits, *others)
        turns.counters = self._service.counters
        return turns

    def greet(self, request: Any, client_address: Any) -> bool:
        """Complete a request's handshake if it is still to come; say if there is a session."""
        return tls_turns.greet(self._service.counters, request, client_address)

    def cooperative(self, request: Any) -> Any:
        """A newcomer's request, for the hub to speak with in place of a thread or child."""
        if type(request) is not BlockingTlsSocket or request.handshake_done or request.ssl_object:
            return request
        return TlsSocket(fileno=request.detach(), terms=request._terms)

    def _see_off(self, request: Any) -> float:
        """What is to be done where a client leaves no room for close_notify: see `Terms`.

        A thread or a child has nothing else to do, and waits; what serves others does not.
        """
        service = self._service
        limits = (service.limits.write_timeout, self._server.handshake_timeout, _FAREWELL)
        patience = next(limit for limit in limits if limit is not None)
        run = service.run
        if service.is_parents:
            return patience
        if run is None:
            return 0.0
        if not run.sleeper.in_this_thread():
            return patience if type(request) is BlockingTlsSocket else 0.0
        service.counters.begin_dedicated()
        self._farewells.begin(request, patience, self._seen_off)
        return 0.0

    def _seen_off(self) -> None:
        """In the hub: a client who was seen off is gone."""
        self._service.counters.end_dedicated()
        if self._service.run is not None:
            self._service.run.look_for_room()

    def note_silence(self, client: Client) -> None:
        """Note a parked client whose time is over, if only that of its handshake."""
        request = client.request
        if not tls_turns.is_tls(request) or request.handshake_done:
            super().note_silence(client)
            return
        counters = self._service.counters
        tls_turns.note_failure(counters, request, client.address, "it took too long")

    def keeps_child(self, client: Client) -> bool:
        """Whether the turns of this client all run in the child that makes its handshake."""
        return self._service.turns.traits.keeps_child and tls_turns.is_tls(client.request)

    def run_kept(self, client: Client, kept: KeptChild) -> Outcome:
        """In that child: run them."""
        return tls_turns.run_kept(self._service, client, kept)

    def close(self) -> None:
        """Let go of whoever leaves no room for the end of its session."""
        self._farewells.close()

    def stay_behind(self) -> list[Any]:
        """In a child of the program's: those requests."""
        return self._farewells.stay_behind()


def _check(service: Service) -> None:
    context, limit = service.own_context(), getattr(service.server, "handshake_timeout", None)
    if not service.is_of_streams():
        raise TypeError("ssl_context is for servers of streams: there is no TLS for datagrams")
    if context is not None and not contexts.is_context(context):
        raise TypeError(f"ssl_context must be an ssl.SSLContext or None, not {context!r}")
    if limit is not None and not (isinstance(limit, int | float) and 0 < limit < math.inf):
        raise ValueError(
            f"handshake_timeout must be a positive number of seconds or None, not {limit!r}"
        )


def context_of(service: Service) -> Any:
    """The context for a client whose handshake begins now; None if the server has none."""
    context, listener = service.own_context(), service.server.socket
    if context is None and listening.is_ssl_socket(listener):
        return listener.context
    return context


def renew(service: Service, number: int, certfile: Any, keyfile: Any, password: Any) -> None:
    """What TCPServer.reload_tls does; `number` is that of the call."""
    context = context_of(service)
    if context is None:
        raise ValueError("this server has no TLS: its ssl_context is None")
    if contexts.is_context(certfile):
        put_in_force: Callable[[], None] = functools.partial(
            setattr, service.server, "ssl_context", certfile
        )
    else:
        put_in_force = contexts.tried_certificate(context, certfile, keyfile, password)
    service.renewals.install(number, put_in_force)
