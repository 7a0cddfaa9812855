"""What kind of handler a server has, and what follows from that for its requests and its turns."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from greensock import tls_renewals, turns, whole_requests
from greensock.client_hooks import ClientHooks
from greensock.handler_shape import HandlerShape
from greensock.net import accepted_kinds, listening
from greensock.net.cooperative_sockets import CooperativeSocket
from greensock.net.request_sockets import OriginalSocket

if TYPE_CHECKING:
    from greensock.tls_serving import TlsServing


class HandlerKind(ClientHooks):
    """The part of BaseServer that knows the kind of its handler."""

    RequestHandlerClass: Any
    _gs_handler_shape: HandlerShape
    #: What serves over TLS; None: clients are served as they come.
    _gs_tls: TlsServing | None
    #: The listener that `_gs_prepare_listener` has looked at.
    _gs_known_listener: Any
    #: What makes a request that suits where handlers run: what `_gs_request_class` said last.
    _gs_accepted_class: Callable[..., OriginalSocket]
    #: What runs a turn on the hub.
    _gs_turn: Callable[..., turns.Outcome]

    def _gs_runs_on_hub(self) -> bool:
        """Whether handlers run in greenlets, and so need cooperative requests."""
        return True

    def _gs_request_class(self) -> type[OriginalSocket]:
        return CooperativeSocket

    def _gs_shape(self) -> HandlerShape:
        if self._gs_handler_shape.handler_class is not self.RequestHandlerClass:
            self._gs_prepare_listener()
        return self._gs_handler_shape

    def _gs_new_shape(self) -> HandlerShape:
        shape = HandlerShape(self.RequestHandlerClass)
        if self._gs_tls is not None:
            return shape.over_tls(self._gs_in_children())
        return (shape.in_children() if self._gs_in_children() else shape).over(
            self._gs_known_listener
        )

    def _gs_in_children(self) -> bool:
        """Whether nothing but the client's connection comes back from where a turn runs."""
        return False

    def _gs_prepare_listener(self) -> None:
        """Have requests accepted in the class that suits where turns run."""
        sock = self._gs_known_listener = getattr(self, "socket", None)
        self._gs_tls = None
        if self._gs_own_context() is not None or listening.is_ssl_socket(sock):
            self._gs_tls = tls_renewals.new_serving(self)
        shape = self._gs_handler_shape = self._gs_new_shape()
        if self._gs_tls is None:
            if shape.is_whole is not None:
                self._gs_turn = whole_requests.run_turn
            elif shape.closes_by_default or self._gs_turn is not turns.run_plain_turn:
                # Never back to that: there may be clients of an earlier handler class.
                self._gs_turn = turns.run_turn
        make = self._gs_request_class() if self._gs_tls is None else self._gs_tls.new_request
        self._gs_accepted_class = accepted_kinds.suiting(make, sock)
        if type(sock) is listening.ListeningSocket:
            sock.request_class = self._gs_accepted_class
