"""TLS for a server: what serve_forever changes when there is a context to serve with.

Loaded by the first server that has one.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

from greensock import tls_turns
from greensock.hub.kept_children import KeptChild
from greensock.hub.lot import Client
from greensock.net import listening, tls_contexts
from greensock.net.tls_farewells import Farewells
from greensock.net.tls_sessions import Terms
from greensock.net.tls_sockets import BlockingTlsSocket, TlsSocket
from greensock.turns import Outcome

# Seconds for a client to read until there is room for close_notify, where the program has set
# neither of the timeouts that say how long it bears with such clients. As `handshake_timeout`.
_FAREWELL = 10.0


class TlsServing:
    """Serves the clients that `server` accepts from now on over TLS.

    Raises:
        TypeError: `ssl_context` is no context, or the server is none of streams.
        ValueError: `handshake_timeout` is no time.
    """

    def __init__(self, server: Any) -> None:
        _check(server)
        self._server = server
        listener = server.socket
        if listening.is_ssl_socket(listener):
            # For programs whose own get_request accepts from it: no handshake there.
            listener.do_handshake_on_connect = False
        terms = Terms(
            functools.partial(context_of, server),
            server.handshake_timeout,
            getattr(listener, "suppress_ragged_eofs", True),
            self._see_off,
        )
        if server._gs_farewells is None:
            server._gs_farewells = Farewells()
        request_class = TlsSocket if server._gs_runs_on_hub() else BlockingTlsSocket
        #: What makes a request of an accepted descriptor.
        self.new_request = functools.partial(request_class, terms=terms)
        # These serve plain clients too, who may be left from an earlier run or an earlier listener.
        server._gs_turn = tls_turns.run_turn
        server._gs_lingering_turn = tls_turns.run_lingering_turn

    def cooperative(self, request: Any) -> Any:
        """A newcomer's request, for the hub to speak with in place of a thread or child."""
        if type(request) is not BlockingTlsSocket or request.handshake_done or request._tls:
            return request
        return TlsSocket(fileno=request.detach(), terms=request._terms)

    def greet(self, request: Any, client_address: Any) -> bool:
        """Complete a request's handshake if it is still to come; say if there is a session."""
        return tls_turns.greet(self._server, request, client_address)

    def _see_off(self, request: Any) -> float:
        """What is to be done where a client leaves no room for close_notify: see `Terms`.

        A thread or a child has nothing else to do, and waits; what serves others does not.
        """
        server = self._server
        limits = (server._gs_limits.write_timeout, server.handshake_timeout, _FAREWELL)
        patience = next(limit for limit in limits if limit is not None)
        serving = server._gs_serving
        if server._gs_is_parents:
            return patience
        if serving is None:
            return 0.0
        if not serving.sleeper.in_this_thread():
            return patience if type(request) is BlockingTlsSocket else 0.0
        server._gs_counters.begin_whole()
        server._gs_farewells.begin(request, patience, self._seen_off)
        return 0.0

    def _seen_off(self) -> None:
        """In the hub: a client who was seen off is gone."""
        self._server._gs_count_whole_out()
        if self._server._gs_serving is not None:
            self._server._gs_serving.look_for_room()

    def keeps_child(self, client: Client) -> bool:
        """Whether the turns of this client all run in the child that makes its handshake."""
        return self._server._gs_shape().keeps_child and tls_turns.is_tls(client.request)

    def run_turns(self, client: Client, kept: KeptChild) -> Outcome:
        """In that child: run them."""
        return tls_turns.run_kept_turns(self._server, client, kept)

    def note_silence(self, client: Client) -> bool:
        """Note a parked client whose time is over; False if that was not its handshake's."""
        request = client.request
        if not tls_turns.is_tls(request) or request.handshake_done:
            return False
        tls_turns.note_failure(self._server, request, client.address, "it took too long")
        return True


def _check(server: Any) -> None:
    context, limit = server._gs_own_context(), server.handshake_timeout
    if not server._gs_is_stream():
        raise TypeError("ssl_context is for servers of streams: there is no TLS for datagrams")
    if context is not None and not tls_contexts.is_context(context):
        raise TypeError(f"ssl_context must be an ssl.SSLContext or None, not {context!r}")
    if limit is not None and not (isinstance(limit, int | float) and 0 < limit < math.inf):
        raise ValueError(
            f"handshake_timeout must be a positive number of seconds or None, not {limit!r}"
        )


def context_of(server: Any) -> Any:
    """The context for a client whose handshake begins now; None if the server has none."""
    context = server._gs_own_context()
    if context is None and listening.is_ssl_socket(server.socket):
        return server.socket.context
    return context


def renew(server: Any, number: int, certfile: Any, keyfile: Any, password: Any) -> None:
    """What TCPServer.reload_tls does; `number` is that of the call."""
    context = context_of(server)
    if context is None:
        raise ValueError("this server has no TLS: its ssl_context is None")
    if tls_contexts.is_context(certfile):
        put_in_force: Callable[[], None] = functools.partial(
            setattr, server, "ssl_context", certfile
        )
    else:
        put_in_force = tls_contexts.tried_certificate(context, certfile, keyfile, password)
    server._gs_tls_renewals.install(number, put_in_force)
