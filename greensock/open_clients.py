"""Who is open: every client from accept until its request is closed, whoever handles it."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from greensock.hub import strays
from greensock.hub.lot import BUSY, DEDICATED, PARKED, Client
from greensock.outcomes import END, Outcome
from greensock.stats import Stats

if TYPE_CHECKING:
    from greensock.networks import Networks
    from greensock.service import Service
    from greensock.serving import Run


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
        self.networks: Networks | None = None
        #: Clients left over from a run of serve_forever that has ended.
        self.left_over: list[Client] = []

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
        run = self._service.run
        if self.networks is not None or (run is not None and run.lot.on_gone is not None):
            self.gone(id(request), request, client_address)

    def still_left_over(self) -> list[Client]:
        """The clients of an earlier run who are not back; some may have ended since."""
        return [client for client in self.left_over if not _is_closed(client.request)]

    def come_back(self, client: Client, outcome: Outcome) -> None:
        """Where a turn ran that has outlived its run of `serve_forever`: it is over."""
        run = self._service.run
        if run is not None:
            run.returned.append((client, outcome, 0.0))
            run.sleeper.ring_soon()
        elif outcome is not END:
            client.state = PARKED

    def take_over(self, client: Client, outcome: Outcome) -> None:
        """In the serving greenlet: as `come_back`, to this run of `serve_forever`."""
        run = self._service.run
        if run is None or client not in self.left_over:
            return
        self.left_over.remove(client)
        run.lot.admit(client)
        if outcome is END:
            run.lot.discard(client)

    def go_on(self, run: Run) -> None:
        """Take back the clients that an earlier run of `serve_forever` left.

        Not those who are busy: where their turn runs may be another thread, and the lot is this
        one's. They come back by `come_back`.
        """
        left, self.left_over = self.still_left_over(), []
        for client in left:
            if client.state is DEDICATED:
                run.ready.append(client)
                run.sleeper.ring()
            elif client.state is PARKED:
                run.lot.admit(client)
                if client.request.unread:
                    client.state = BUSY
                    run.lot.make_ready(client)
                else:
                    run.lot.park(client)
            else:
                self.left_over.append(client)

    def wait_for_next(self, run: Run) -> None:
        """Keep the clients of a run that has ended."""
        run.lot.hand_over_now()
        for client in run.ready:
            if run.lot.holds(client):
                client.state = PARKED
        waiting = [client for client in run.ready if client.state is DEDICATED]
        for client, outcome, _ in run.returned:
            if client.state is DEDICATED:
                self.end_dedicated(client.request, client.address)
            else:
                client.state = BUSY if outcome is END else PARKED
        self.left_over += run.lot.suspend() + waiting

    def count(self) -> int:
        """How many clients are open."""
        run = self._service.run
        in_lot = 0 if run is None else len(run.lot.clients)
        if self.left_over:
            in_lot += sum(client.state is not DEDICATED for client in self.still_left_over())
        return in_lot + self._counters.dedicated

    def stats(self, counts_bytes: bool) -> Stats:
        """A snapshot of the counters; in any thread."""
        run = self._service.run
        clients = [] if run is None else list(run.lot.clients.values())
        clients += self.still_left_over()
        listed = [client for client in clients if client.state is not DEDICATED]
        parked = sum(client.state is PARKED for client in listed)
        return self._counters.snapshot(len(listed), parked, counts_bytes)


def _is_closed(request: Any) -> bool:
    """Whether `request`, an object of the program's maybe, is a socket that is closed."""
    try:
        return bool(request.fileno() < 0)
    except (AttributeError, OSError, ValueError):
        return False
