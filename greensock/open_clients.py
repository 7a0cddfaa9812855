"""Who is open: every client from accept until its request is closed, whoever handles it."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from greensock import endings, turns
from greensock.handler_kind import HandlerKind
from greensock.hub import strays
from greensock.hub.lot import PARKED, WHOLE, Client
from greensock.stats import Counters
from greensock.turns import Outcome

if TYPE_CHECKING:
    from greensock.networks import Networks
    from greensock.serving import Serving


class OpenClients(HandlerKind):
    """The part of BaseServer that counts its clients, and says what becomes of them."""

    _gs_serving: Serving | None
    _gs_counters: Counters
    #: How many clients each network has, where that is limited.
    _gs_networks: Networks | None
    #: Clients left over from a run of serve_forever that has ended.
    _gs_suspended: list[Client]

    def _gs_come_back(self, client: Client, outcome: Outcome) -> None:
        """Where a turn ran that has outlived its run of `serve_forever`: it is over."""
        serving = self._gs_serving
        if serving is not None:
            serving.returned.append((client, outcome, 0.0))
            serving.sleeper.ring_soon()
        elif outcome is not turns.END:
            client.state = PARKED

    def _gs_take_over(self, client: Client, outcome: Outcome) -> None:
        """In the serving greenlet: as `_gs_come_back`, to this run of `serve_forever`."""
        serving = self._gs_serving
        if serving is None or client not in self._gs_suspended:
            return
        self._gs_suspended.remove(client)
        serving.lot.admit(client)
        if outcome is turns.END:
            serving.lot.discard(client)

    def _gs_begin_whole(self, request: Any, client_address: Any) -> None:
        """Count in a request that is handled as a whole, beside the lot."""
        self._gs_take(request)
        self._gs_counters.begin_whole()
        if self._gs_serving is not None and self._gs_serving.observes:
            self._gs_tell("busy", request, client_address)

    def _gs_take(self, request: Any) -> None:
        """The request is in this server's care, and not in the program's."""
        serving = self._gs_serving
        if serving is not None and serving.offered is request:
            serving.offered = None
        elif strays.watched and strays.forget(request):
            self._gs_count_whole_out()

    def _gs_leave_to_program(self, request: Any, client_address: Any) -> None:
        """process_request has kept a request to itself: it is open until somebody closes it."""
        key = id(request)
        if _is_closed(request):
            self._gs_gone(key, request, client_address)
            return
        self._gs_counters.begin_whole()

        def gone(closed: Any) -> None:
            self._gs_count_whole_out()
            if self._gs_networks is not None:
                # At once: who comes back at once may be accepted before the errand's turn.
                self._gs_networks.release(key)
            serving = self._gs_serving
            tell = functools.partial(self._gs_gone, key, closed, client_address)
            if serving is None or not serving.do_soon(tell):
                tell()

        strays.watch(request, gone)

    def _gs_gone(self, key: int, request: Any, client_address: Any) -> None:
        """A client is gone; in the serving thread, or where nobody serves.

        Args:
            key: the identity that its request has or had.
            request: None if it is gone as well.
        """
        serving = self._gs_serving
        if serving is not None:
            serving.client_gone(key, request, client_address)
        elif self._gs_networks is not None:
            self._gs_networks.release(key)

    def _gs_count_whole_out(self) -> None:
        """Count it out; in any thread."""
        self._gs_counters.end_whole()

    def _gs_end_whole(self, request: Any, client_address: Any) -> None:
        """Count it out and say so; in the serving thread, or where nobody serves."""
        self._gs_count_whole_out()
        serving = self._gs_serving
        if self._gs_networks is not None or (
            serving is not None and serving.lot.on_gone is not None
        ):
            self._gs_gone(id(request), request, client_address)

    def _gs_tell(self, state: str, request: Any, client_address: Any) -> None:
        """Tell an overridden `on_connection`."""
        try:
            self.on_connection(state, request, client_address)
        except BaseException as error:  # noqa: BLE001 - raised again if it is the owner's
            endings.tell_beside(self, request, client_address, error)

    def _gs_left_over(self) -> list[Client]:
        """The clients of an earlier run who are not back; some may have ended since."""
        return [client for client in self._gs_suspended if not client.request._closed]

    def _gs_open_now(self) -> int:
        """How many clients are open."""
        serving = self._gs_serving
        in_lot = 0 if serving is None else len(serving.lot.clients)
        if self._gs_suspended:
            in_lot += sum(client.state is not WHOLE for client in self._gs_left_over())
        return in_lot + self._gs_counters.whole


def _is_closed(request: Any) -> bool:
    """Whether `request`, an object of the program's maybe, is a socket that is closed."""
    try:
        return bool(request.fileno() < 0)
    except (AttributeError, OSError, ValueError):
        return False
