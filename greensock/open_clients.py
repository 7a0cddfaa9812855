"""Who is open: every client from accept until its request is closed, whoever handles it."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from greensock import endings, turns
from greensock.handler_kind import HandlerKind
from greensock.hub import strays
from greensock.hub.lot import PARKED, WHOLE, Client
from greensock.net.request_sockets import is_closed
from greensock.stats import Counters
from greensock.turns import Outcome

if TYPE_CHECKING:
    from greensock.networks import Networks
    from greensock.serving import Serving


class OpenClients(HandlerKind):
    """The part of BaseServer that counts its clients, and says what becomes of them."""

    _serving: Serving | None
    _counters: Counters
    #: How many clients each network has, where that is limited.
    _networks: Networks | None
    #: Clients left over from a run of serve_forever that has ended.
    _suspended: list[Client]

    def _come_back(self, client: Client, outcome: Outcome) -> None:
        """Where a turn ran that has outlived its run of `serve_forever`: it is over."""
        serving = self._serving
        if serving is not None:
            serving.returned.append((client, outcome, 0.0))
            serving.sleeper.ring_soon()
        elif outcome is not turns.END:
            client.state = PARKED

    def _take_over(self, client: Client, outcome: Outcome) -> None:
        """In the serving greenlet: as `_come_back`, to this run of `serve_forever`."""
        serving = self._serving
        if serving is None or client not in self._suspended:
            return
        self._suspended.remove(client)
        serving.lot.admit(client)
        if outcome is turns.END:
            serving.lot.discard(client)

    def _begin_whole(self, request: Any, client_address: Any) -> None:
        """Count in a request that is handled as a whole, beside the lot."""
        self._take(request)
        self._counters.begin_whole()
        if self._serving is not None and self._serving.observes:
            self._tell("busy", request, client_address)

    def _take(self, request: Any) -> None:
        """The request is in this server's care, and not in the program's."""
        serving = self._serving
        if serving is not None and serving.offered is request:
            serving.offered = None
        elif strays.watched and strays.forget(request):
            self._count_whole_out()

    def _leave_to_program(self, request: Any, client_address: Any) -> None:
        """process_request has kept a request to itself: it is open until somebody closes it."""
        key = id(request)
        if is_closed(request):
            self._gone(key, request, client_address)
            return
        self._counters.begin_whole()

        def gone(closed: Any) -> None:
            self._count_whole_out()
            if self._networks is not None:
                # At once: who comes back at once may be accepted before the errand's turn.
                self._networks.release(key)
            serving = self._serving
            tell = functools.partial(self._gone, key, closed, client_address)
            if serving is None or not serving.do_soon(tell):
                tell()

        strays.watch(request, gone)

    def _gone(self, key: int, request: Any, client_address: Any) -> None:
        """A client is gone; in the serving thread, or where nobody serves.

        Args:
            key: the identity that its request has or had.
            request: None if it is gone as well.
        """
        serving = self._serving
        if serving is not None:
            serving.client_gone(key, request, client_address)
        elif self._networks is not None:
            self._networks.release(key)

    def _count_whole_out(self) -> None:
        """Count it out; in any thread."""
        self._counters.end_whole()

    def _end_whole(self, request: Any, client_address: Any) -> None:
        """Count it out and say so; in the serving thread, or where nobody serves."""
        self._count_whole_out()
        serving = self._serving
        if self._networks is not None or (serving is not None and serving.lot.on_gone is not None):
            self._gone(id(request), request, client_address)

    def _tell(self, state: str, request: Any, client_address: Any) -> None:
        """Tell an overridden `on_connection`."""
        try:
            self.on_connection(state, request, client_address)
        except BaseException as error:  # noqa: BLE001 - raised again if it is the owner's
            endings.tell_beside(self, request, client_address, error)

    def _left_over(self) -> list[Client]:
        """The clients of an earlier run who are not back; some may have ended since."""
        return [client for client in self._suspended if not client.request._closed]

    def _open_now(self) -> int:
        """How many clients are open."""
        serving = self._serving
        in_lot = 0 if serving is None else len(serving.lot.clients)
        if self._suspended:
            in_lot += sum(client.state is not WHOLE for client in self._left_over())
        return in_lot + self._counters.whole
