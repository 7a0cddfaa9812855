"""What a server does for the clients in its lot, and where turns run: what the mixins override."""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable
from typing import Any

from greensock import turns
from greensock.handlers import HandlerShape
from greensock.hub.lot import BUSY, ENDING, PARKED, Client
from greensock.hub.waking import Latch
from greensock.net import listening
from greensock.net.cooperative_sockets import CooperativeSocket
from greensock.net.request_sockets import OriginalSocket, is_request_socket
from greensock.serving import Serving


class ClientCare:
    """The part of BaseServer that looks after parked clients. For BaseServer and the mixins only.

    Here turns run one after the other in the serving greenlet.
    """

    RequestHandlerClass: Any

    def __init__(self) -> None:
        self._serving: Serving | None = None
        self._handler_shape = HandlerShape(self.RequestHandlerClass)
        #: Clients left over from a run of serve_forever that has ended.
        self._suspended: list[Client] = []
        #: Whether server_close() was called: then nobody is parked any more.
        self._is_closed = False

    def _resume(self, serving: Serving) -> None:
        """Take back the clients that an earlier run of `serve_forever` left."""
        clients, self._suspended = self._suspended, []
        for client in clients:
            serving.lot.admit(client)
            if client.state is PARKED and client.request.unread:
                client.state = BUSY
                serving.lot.make_ready(client)
            elif client.state is PARKED:
                serving.lot.park(client)

    def _suspend(self, serving: Serving) -> None:
        """Keep the clients for the next run of `serve_forever`, or for `server_close`."""
        self._serving = None
        for client in serving.ready:
            if serving.lot.holds(client):
                client.state = PARKED
        for client, outcome in serving.returned:
            client.state = BUSY if outcome is turns.END else PARKED
        self._suspended = [c for c in serving.lot.suspend() if not c.request._closed]

    def _runs_on_hub(self) -> bool:
        """Whether handlers run in greenlets, and so need cooperative requests."""
        return True

    def _request_class(self) -> type[OriginalSocket]:
        return CooperativeSocket

    def _has_room(self) -> bool:
        """Whether another turn may begin."""
        return True

    def _note_waiting(self, waiting: bool) -> None:
        """Told whether clients wait because there is no room."""

    def _ready_queue(self, serving: Serving) -> tuple[deque[Client], Callable[[], None]]:
        """Where the lot puts ready clients, and what it calls when it puts one into an empty queue.

        Here the serving greenlet begins their turns, all that became ready together in one go.
        """
        return serving.ready, serving.sleeper.ring_after_events

    def _begin_turn(self, client: Client) -> None:
        """In the serving greenlet: run a turn, or start it elsewhere."""
        outcome = turns.serve_turn(self, client)
        if self._serving is not None:
            self._serving.settle(client, outcome)

    def _release(self, client: Client) -> None:
        """Where a turn ran: the client's request is about to be closed."""
        if self._serving is not None and self._serving.lot.holds(client):
            self._serving.lot.discard(client)

    def _admit(self, request: Any, client_address: Any) -> Client | None:
        """Take a request into the lot's care if its clients can be parked; None if they cannot."""
        serving = self._serving
        if serving is None or not self._can_park(request):
            return None
        client = Client(request, client_address)
        serving.lot.admit(client)
        if self._shape().waits_for_data:
            serving.lot.park(client)
        else:
            serving.lot.make_ready(client)
        return client

    def _can_park(self, request: Any) -> bool:
        return self._shape().parks and is_request_socket(request)

    def _shape(self) -> HandlerShape:
        shape = self._handler_shape
        if shape.handler_class is not self.RequestHandlerClass:
            shape = self._handler_shape = HandlerShape(self.RequestHandlerClass)
        return shape

    def _is_stream(self) -> bool:
        return getattr(self, "socket_type", None) == socket.SOCK_STREAM

    def _prepare_listener(self) -> None:
        """Have the server's socket accept requests of the class that suits where turns run."""
        sock = getattr(self, "socket", None)
        if type(sock) is listening.ListeningSocket:
            sock.request_class = self._request_class()

    def _close_clients(self) -> None:
        """Close every client that is parked, through its handler's finish()."""
        self._is_closed = True
        if self._serving is None:
            clients, self._suspended = self._suspended, []
        else:
            self._serving.take_back()
            clients = list(self._serving.lot.clients.values())
        for client in clients:
            if client.state is PARKED:
                self._close_client(client)
            elif self._serving is None:
                self._suspended.append(client)

    def _close_client(self, client: Client) -> None:
        if self._serving is not None:
            self._serving.lot.discard(client)
        client.state = ENDING
        turns.serve_turn(self, client)

    def _on_serving_greenlet(self, errand: Callable[[], Any]) -> None:
        """Have `errand` called where the lot may be touched, and wait until it was."""
        serving = self._serving
        done = Latch()

        def run() -> None:
            try:
                errand()
            finally:
                done.set()

        if serving is None or serving.sleeper.in_this_thread() or not serving.do_soon(run):
            errand()
        else:
            done.wait()
