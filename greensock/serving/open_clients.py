"""Who is open: every client from accept until its request is closed, whoever handles it."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from greensock.lot.client import DEDICATED, PARKED, Client
from greensock.lot.outcomes import END, Outcome
from greensock.noted import strays
from greensock.stats import Stats

if TYPE_CHECKING:
    from greensock.admission.networks import NetworkCounts
    from greensock.serving.run import Run
    from greensock.serving.service import Service


class OpenClients:
    """Counts the clients of a server, in the lot and beside it, and says what becomes of them.

    Args:
        service: the server's.
        counted: whether requests beside the lot are. A datagram has no client that is open, and
            twice a lock would be 5 % of an answer.
    """

    def __init__(self, service: Service, counted: bool) -> None:
        self._service = service
        self._counted = counted
        self._counters = service.counters
        #: How many clients each network has, where that is limited.
        self.networks: NetworkCounts | None = None
        #: Clients who wait, between two runs of serve_forever, for their handler to be begun.
        self._waiting: list[Client] = []

    def begin_dedicated(self, request: Any, client_address: Any) -> None:
        """Count in a request that is handled as a whole, beside the lot."""
        if not self._counted:
            return
        self.take(request)
        self._counters.begin_dedicated()
        run = self._service.run
        if run is not None and run.observes:
            self._service.tell("busy", request, client_address)

    def take(self, request: Any) -> None:
        """The request is in the server's care, and not in the program's."""
        run = self._service.run
        if run is not None and run.offered is request:
            run.offered = None
        elif strays.watched and strays.forget(request):
            self.count_out()

    def leave_to_program(self, request: Any, client_address: Any) -> None:
        """process_request has kept a request to itself: it is open until somebody closes it."""
        key = id(request)
        if _is_closed(request):
            self.gone(key, request, client_address)
            return
        self._counters.begin_dedicated()

        def gone(closed: Any) -> None:
            self.count_out()
            if self.networks is not None:
                # At once: who comes back at once may be accepted before the errand's turn.
                self.networks.release(key)
            run = self._service.run
            tell = functools.partial(self.gone, key, closed, client_address)
            if run is None or not run.do_soon(tell):
                tell()

        strays.watch(request, gone)

    def gone(self, key: int, request: Any, client_address: Any) -> None:
        """A client is gone; in the serving thread, or where nobody serves.

        Args:
            key: the identity that its request has or had.
            request: None if it is gone as well.
        """
        run = self._service.run
        if run is not None:
            run.client_gone(key, request, client_address)
        elif self.networks is not None:
            self.networks.release(key)

    def count_out(self) -> None:
        """Count a request out that was counted in; in any thread."""
        if self._counted:
            self._counters.end_dedicated()

    def end_dedicated(self, request: Any, client_address: Any) -> None:
        """Count it out and say so; in the serving thread, or where nobody serves."""
        if not self._counted:
            return
        self._counters.end_dedicated()
        if self.networks is not None or self._service.lot.on_gone is not None:
            self.gone(id(request), request, client_address)

    def come_back(self, client: Client, outcome: Outcome) -> None:
        """Where a turn ran that has outlived its run of `serve_forever`: it is over."""
        service = self._service
        run = service.run
        if run is not None:
            run.returned.append((client, outcome, 0.0))
            run.sleeper.ring_soon()
        elif outcome is END:
            service.lot.forget(client)
        elif service.lot.take_back(client):
            service.lot.park(client)
            if service.run is not None:
                # It has begun since, and may have missed this one.
                service.run.do_soon(functools.partial(service.lot.look_at, client))

    def go_on(self, run: Run) -> None:
        """Take back those who waited between two runs."""
        for client in self.take_waiting():
            run.ready.append(client)
            run.sleeper.ring()

    def take_waiting(self) -> list[Client]:
        """Those whose handler was not begun; nobody else will begin it."""
        waiting, self._waiting = self._waiting, []
        return waiting

    def wait_for_next(self, run: Run) -> None:
        """Keep the clients of a run that has ended."""
        lot = self._service.lot
        self._waiting += [client for client in run.ready if client.state is DEDICATED]
        for client, outcome, _ in run.returned:
            if client.state is DEDICATED:
                self.end_dedicated(client.request, client.address)
            elif outcome is END:
                if lot.holds(client):
                    lot.discard(client)
            elif client.lot is not None or lot.take_back(client):
                lot.park(client)
        lot.detach()

    def waiting_requests(self) -> list[Any]:
        """The requests of those who wait between two runs."""
        return [client.request for client in self._waiting]

    def count(self) -> int:
        """How many clients are open."""
        return len(self._service.lot.clients) + self._counters.dedicated

    def stats(self, counts_bytes: bool) -> Stats:
        """A snapshot of the counters; in any thread."""
        clients = self._service.lot.clients.values()
        parked = sum(client.state is PARKED for client in clients)
        return self._counters.snapshot(len(clients), parked, counts_bytes)


def _is_closed(request: Any) -> bool:
    """Whether `request`, an object of the program's maybe, is a socket that is closed."""
    try:
        return bool(request.fileno() < 0)
    except (AttributeError, OSError, ValueError):
        return False
