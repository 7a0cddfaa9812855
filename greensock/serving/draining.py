"""Stopping without losing anybody: a drain, from the request for it to its report."""

from __future__ import annotations

import logging
import socket
from collections import deque
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple

from greensock.handlers import whereabouts
from greensock.hub import lifetime
from greensock.hub.waiting import look_at_the_clock
from greensock.hub.waking import Latch
from greensock.hub.workers.greenlet_pool import GreenletPool
from greensock.lot.client import PARKED, Client
from greensock.net import listening
from greensock.net.listening import AcceptError
from greensock.printable import printable
from greensock.serving.runner import hang_up
from greensock.turns.goodbyes import QUEUE_GRACE, say_goodbye

if TYPE_CHECKING:
    from greensock.serving.service import Service

_log = logging.getLogger("greensock.serve")

# Parked clients closed in a row before whoever is busy has a turn: about 2 ms.
_AT_ONCE = 100

# Clients who may be told goodbye at the same time. Arbitrary: who does not read takes 0.2 s, and
# is one in thousands.
_GOODBYES = 16

# Clients taken from the kernel's queue: twice what fits into one of Linux's default size. Who
# connects faster than that for as long as this takes is a flood.
_MOST_QUEUED = 2 * socket.SOMAXCONN

# Seconds between two looks whether a drain is still to wait for those who answer datagrams.
_LOOK_INTERVAL = 0.1

# Seconds after the deadline for what was cut to be gone, so that the loop ends when all are. It is
# short, because the deadline is meant: who unwinds for longer does so without the server.
_UNWINDING = 0.02

# Seconds after the deadline when a caller in another thread goes its way, whatever a handler keeps.
_PATIENCE = 0.08


class Cut(NamedTuple):
    """A client that was not done by the deadline, and where its handler was then."""

    client_address: Any
    where: str


class Drained(NamedTuple):
    """What became of the clients of a server that was drained.

    `finished`: how many ended by themselves, their handler done. `parked`: how many were parked,
    and closed. `cut`: those who were not done by the deadline. `seconds`: how long it took. Clients
    taken out of the kernel's queue meanwhile count too.
    """

    finished: int
    parked: int
    cut: tuple[Cut, ...]
    seconds: float


class Drain:
    """One drain of a server that serves.

    Args:
        service: of the server, which serves.
        timeout: seconds until what is left is cut.
    """

    def __init__(self, service: Service, timeout: float) -> None:
        assert service.run is not None
        self._service = service
        self._run = service.run
        self._timeout = timeout
        #: When it began, by the monotonic clock.
        self.begun = monotonic()
        self._total = 0
        self._parked = 0
        self._cut: tuple[Cut, ...] = ()
        self._is_cut = False
        #: Clients who have had a turn more since it began, of those who were busy.
        self._heard_out: set[Client] = set()
        self._queue_is_open = True
        self._ended = False
        #: Parked clients who are still to be closed.
        self._left: deque[Client] = deque()
        #: What they are closed in: hooks may block, and the serving greenlet may be in one.
        self._pool: GreenletPool | None = None
        #: Set at the end, when there is a report.
        self.done = Latch()
        self.report: Drained | None = None

    def start(self) -> bool:
        """Begin; from anywhere. False if the run of serve_forever has ended."""
        run = self._run
        # In the hub: without a mixin, the serving greenlet is in a handler, maybe for ever.
        run.sleeper.call_in_hub(self._begin)
        return run.do_soon(lambda: None)

    def hurry(self) -> None:
        """Cut what is left now; from anywhere."""
        self._run.sleeper.call_in_hub(self._cut_rest)

    def is_kept_by(self, greenlet: Any) -> bool:
        """Whether it could not go on while this greenlet waits: the hub, or one of its own."""
        pool = self._pool
        return lifetime.is_hub(greenlet) or (pool is not None and pool.is_worker())

    def await_report(self) -> Drained:
        """Wait until it is over, but not for a handler that lets nobody end it."""
        self.done.wait(max(0.0, self.begun + self._timeout + _PATIENCE - monotonic()))
        report = self.report
        if report is None:
            # The hub itself is kept.
            cut = [Cut(each.client_address, each.where) for each in self._service.runner.at_work()]
            found = whereabouts.find(self._run.sleeper.running_frame())
            if found.handler is not None and not any(each.where == found.line for each in cut):
                cut.append(Cut(found.handler.client_address, found.line))
            report = self._new_report(tuple(cut))
        return report

    def _begin(self) -> None:
        """In the hub."""
        service, run = self._service, self._run
        service.is_closed = True
        self._total = service.clients.count()
        service.runner.hurry(self.begun)
        run.watch_leaving(self._client_gone)
        look_at_the_clock()
        run.call_after(max(0.0, self.begun + self._timeout - monotonic()), self._cut_rest)
        self._left.extend(run.lot.clients.values())
        self._pool = GreenletPool(self._close_parked, lambda: None)
        for _ in range(_GOODBYES):
            self._pool.submit(self._left)

    def _close_parked(self, clients: deque[Client]) -> bool:
        """In a greenlet of its own; say whether to go on, once whoever is busy has had a turn."""
        for _ in range(min(_AT_ONCE, len(clients))):
            if not clients or self._ended:
                break
            client = clients.popleft()
            if client.state is PARKED and self._run.lot.holds(client):
                self._close_one(client)
        if clients and not self._ended:
            return True
        self._run.do_soon(self._take_queue)
        return False

    def _close_one(self, client: Client) -> None:
        """Close a parked client."""
        self._run.lot.unpark(client)
        self.close_idle(client)

    def close_idle(self, client: Client) -> None:
        """Close a client between two turns.

        Unless it has just asked for something: then after the answer.
        """
        if self._service.turns.look(client):
            self._run.lot.make_ready(client)
            return
        self._parked += 1
        if monotonic() < self.begun + self._timeout:
            say_goodbye(self._service, client)
        self._service.runner.close_client(client)

    def close_busy(self, client: Client) -> None:
        """Close a client whose turn has ended amid the drain.

        Unless more had arrived meanwhile: then after one more turn, since who never stops asking
        would keep the drain for all its time.
        """
        if client not in self._heard_out and self._service.turns.look(client):
            self._heard_out.add(client)
            self._run.lot.make_ready(client)
            return
        self._service.runner.close_client(client)

    def note_child(self, silent_since: float) -> None:
        """Count a client who was waited for in a child that is gone, if it was silent."""
        self._parked += 0.0 < silent_since < self.begun

    def _take_queue(self) -> None:
        """Let in who waits in the kernel's queue: closing the listener would reset them."""
        service, run = self._service, self._run
        if not self._queue_is_open:
            return
        server = service.server
        fd = server.fileno() if hasattr(server, "fileno") else -1
        left = _MOST_QUEUED
        while fd >= 0 and left and listening.is_readable(fd):
            room = run.admission.room()
            if room <= 0 and not self._is_cut:
                # Once somebody has gone.
                return
            before = service.counters.accepted
            if service.acceptor.accept_one() not in (None, AcceptError.CLIENT_LOST):
                break
            self._total += service.counters.accepted - before
            left -= 1
        self._queue_is_open = False
        run.listener.close()
        if service.is_of_streams() and fd >= 0:
            server.socket.close()
        if run.lot.clients:
            run.call_after(min(QUEUE_GRACE, self._timeout), lambda: run.do_soon(self._close_silent))
        if not service.is_of_streams():
            self._await_answers()
        self._finish_if_done()

    def _await_answers(self) -> None:
        """Wait for the handlers of datagrams, whom no count of clients has.

        They answer through the server's own socket, which may be closed as soon as this is over.
        """
        while not self._is_cut and not self._service.runner.join(_LOOK_INTERVAL):
            pass

    def _close_silent(self) -> None:
        """Close who came out of the queue and has said nothing."""
        for client in list(self._run.lot.clients.values()):
            if client.state is PARKED:
                self._close_one(client)
        self._finish_if_done()

    def _client_gone(self) -> None:
        if self._queue_is_open or not self._service.clients.count():
            self._run.do_soon(self._look_again)

    def _look_again(self) -> None:
        if self._queue_is_open:
            self._take_queue()
        self._finish_if_done()

    def _cut_rest(self) -> None:
        """In the hub: the deadline."""
        if self._is_cut or self._ended:
            return
        self._is_cut = True
        service, run = self._service, self._run
        at_work = list(service.runner.at_work())
        cut = [Cut(each.client_address, each.where) for each in at_work]
        requests = {id(each.request) for each in at_work}
        for each in at_work:
            each.cut()
        for client in list(run.lot.clients.values()):
            if id(client.request) not in requests and client.state is not PARKED:
                cut.append(Cut(client.address, "waiting for its turn"))
                hang_up(client.request)
        service.transport.close()
        run.sleeper.cut()
        if self._pool is not None:
            self._pool.kill()
            self._pool.submit(self._left)
        self._cut = tuple(cut)
        if cut:
            _log.warning("cut after %.1f s: %s", monotonic() - self.begun, _listed(cut))
        run.call_after(_UNWINDING, self._finish)
        run.do_soon(self._look_again)

    def _finish_if_done(self) -> None:
        if not self._queue_is_open and not self._service.clients.count():
            self._finish()

    def _finish(self) -> None:
        """There is nobody left, or nobody who can be ended."""
        if self._ended:
            return
        self._ended = True
        self.report = self._new_report(self._cut)
        _log.info(
            "drained in %.2f s: %d finished, %d parked ones closed, %d cut",
            self.report.seconds,
            self.report.finished,
            self.report.parked,
            len(self.report.cut),
        )
        self._service.lifecycle.ask_to_stop()

    def _new_report(self, cut: tuple[Cut, ...]) -> Drained:
        gone = max(self._total - self._parked - len(cut), 0)
        return Drained(gone, self._parked, cut, monotonic() - self.begun)

    def serving_ended(self) -> None:
        """The run of serve_forever is over, by the drain or before it was done."""
        self._finish()
        if self._pool is not None:
            self._pool.dismiss(_UNWINDING)
        self.done.set()


def _listed(cut: list[Cut], most: int = 20) -> str:
    lines = [f"{each.client_address!r} at {printable(each.where)}" for each in cut[:most]]
    if len(cut) > most:
        lines.append(f"and {len(cut) - most} more")
    return "; ".join(lines)


def drain_unserved(service: Service, timeout: float) -> Drained:
    """Drain a server for which serve_forever does not run: its handlers may do so still."""
    begun = monotonic()
    total = service.clients.count()
    clients = service.lot.clients.values()
    parked = sum(client.state is PARKED for client in clients)
    service.runner.hurry(begun)
    for client in clients:
        if client.state is PARKED and monotonic() < begun + timeout:
            say_goodbye(service, client)
    service.close_clients()
    service.runner.join(max(0.0, begun + timeout - monotonic()))
    at_work = list(service.runner.at_work())
    cut = tuple(Cut(each.client_address, each.where) for each in at_work)
    for each in at_work:
        each.cut()
    if cut:
        _log.warning("cut after %.1f s: %s", monotonic() - begun, _listed(list(cut)))
        service.runner.join(_UNWINDING)
    service.close_clients()
    gone = max(total - parked - len(cut), 0)
    return Drained(gone, parked, cut, monotonic() - begun)
