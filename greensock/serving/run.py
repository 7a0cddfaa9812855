"""One run of `serve_forever`: the greenlet that accepts, and the lot it looks after.

The greenlet sleeps until a fact. It wakes for a readable listener, a ready client, a child's exit,
a returned thread, a request to stop; and for `poll_interval` only where a subclass overrides
`service_actions`. All hooks of the program run here, where they may block.
"""

from __future__ import annotations

import _thread
import contextlib
import logging
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from greensock.admission.newcomers import Admission
from greensock.handlers.stalls import Stalls
from greensock.hub.sleeper import CutOff, Sleeper
from greensock.lot.client import DEDICATED, PARKED, Client
from greensock.lot.outcomes import Outcome
from greensock.lot.timed_lot import TimedLot
from greensock.net import tcp_options
from greensock.net.listening import non_blocking
from greensock.net.shortages import Shortage
from greensock.serving.listener import Listener
from greensock.sockets.requests import number_of

if TYPE_CHECKING:
    from greensock.serving.service import Service

_log = logging.getLogger("greensock.serve")


class Run:
    """The state of one run of `serve_forever`; everything here belongs to the serving greenlet.

    Args:
        service: of the server, whose hooks are called.
        poll_interval: seconds between calls of an overridden `service_actions`, or None.
    """

    def __init__(self, service: Service, poll_interval: float | None) -> None:
        self.server = service.server
        self.service, self.runner = service, service.runner
        self.sleeper = Sleeper()
        #: Clients whose turn waits to be begun by the serving greenlet.
        self.ready: deque[Client] = deque()
        self.lot = service.lot
        #: Whether the program's on_connection is told of what becomes of clients.
        self.observes: bool = service.observes()
        self.stalls = Stalls(service.limits, service.counters)
        self._begin_turn = self._begin_observed_turn if self.observes else self.runner.begin
        #: Where the lot puts clients who are ready.
        self.queue = self.runner.ready_queue(self)
        # Where turns are begun here, who is found ready along with newcomers comes before them.
        begins_here = self.queue.clients is self.ready
        ring = self.sleeper.ring_after_events if begins_here else self.sleeper.ring
        self.listener = Listener(self, ring)
        self._waits_for_parking = False
        self.admission = Admission(self)
        #: Clients whose turn ended in another thread, with the other arguments for `settle`.
        self.returned: deque[tuple[Client, Outcome, float]] = deque()
        #: What other greenlets and threads want done here.
        self._errands: deque[Callable[[], Any]] = deque()
        self._lock = _thread.RLock()
        self._ended = False
        self.is_of_streams: bool = service.is_of_streams()
        self._wants_service = self.runner.wants_service()
        self._poll_interval = poll_interval
        #: Whether get_request is being called for this run, and must not wait.
        self.accepting = False
        #: The request of a stream that process_request is called with, until somebody takes it.
        self.offered: Any = None
        self._were_waiting = False  # clients were left without room
        #: Whether shutdown() was called.
        self.stopping = False
        self._workers = Shortage(
            self.runner.resource,
            "clients who are ready wait",
            f"starting {self.runner.resource} again",
        )
        self._no_workers = False
        self._on_leaving: Callable[[], Any] | None = None
        self._timers: list[Any] = []
        self._again = self._new_timer(0)

    def _new_timer(self, *times: float) -> Any:
        self._timers.append(timer := self.sleeper.loop.timer(*times))
        return timer

    def client_silent(self, client: Client) -> None:
        """In the hub: a parked client's timeout is over; its handler's finish() is a turn too."""
        self.service.transport.note_silence(client)
        self.lot.make_ready(client)

    def do_soon(self, errand: Callable[[], Any]) -> bool:
        """Have the serving greenlet call `errand`, from any thread; False if it has ended."""
        with self._lock:
            if self._ended:
                return False
            self._errands.append(errand)
        self.sleeper.ring_soon()
        return True

    def do_now(self, errand: Callable[[], Any]) -> None:
        """As `do_soon`, but at once; in this thread's hub."""
        self._errands.append(errand)
        self.sleeper.ring()

    def serve(self) -> None:
        """Serve until the server is asked to stop."""
        server = self.server
        with contextlib.ExitStack() as stack:
            stack.callback(self.sleeper.close)
            stack.callback(self._close)
            stack.enter_context(contextlib.suppress(CutOff))  # the end of a drain
            listener = getattr(server, "socket", None)
            if hasattr(listener, "accept") and self.is_of_streams:
                stack.enter_context(non_blocking(listener, self.service.forks_before))
                self.service.set_client_options(listener)
            if not hasattr(server, "fileno"):
                self._run_without_descriptor()
                return
            if self._wants_service:
                self.sleeper.ring_every(self._poll_interval)
            self.listener.watch()
            while not self.stopping:
                self.sleeper.sleep()
                if self.stopping:
                    break
                self._work()

    def _work(self) -> None:
        while self._errands:
            self._errands.popleft()()
        if self.returned or self.lot.forsaken:
            self.take_back()
        if self.listener.acceptable:
            self.lot.take_ready()
            self.listener.accept()
            if self.stopping:
                return
        if self.ready or self._were_waiting:
            self._begin_turns()
        if self._wants_service:
            self.server.service_actions()

    def take_back(self) -> None:
        """Settle the turns that ended in other threads."""
        while self.returned:
            self.settle(*self.returned.popleft())
        while self.lot.forsaken:
            self._close_forsaken(self.lot.forsaken.popleft())

    def _close_forsaken(self, request: Any) -> None:
        client = self.lot.clients.get(request)
        if client is None or client.state is not PARKED:
            request._real_close()
        else:
            self.lot.end_soon(client)

    def settle(self, client: Client, outcome: Outcome, silent_since: float = 0.0) -> None:
        """Do what the end of a turn asks for; `silent_since` is what `turns.Lingering` knows."""
        if client.lot is None and client.state is not DEDICATED:
            # Its turn has outlived the run that had begun it.
            self.lot.take_back(client)
        if outcome is Outcome.PARK and (self.service.is_closed or number_of(client.request) < 0):
            # The latter: closed by somebody else a moment before it was parked.
            self.service.close_unparked(client, silent_since)
        elif outcome is Outcome.PARK:
            self.lot.park(client)
        elif outcome is Outcome.GO_ON:
            self.ready.append(client)
        elif client.state is DEDICATED:
            self.service.clients.end_dedicated(client.request, client.address)
        elif self.lot.holds(client):
            self.lot.discard(client)

    def _begin_turns(self) -> None:
        has_room = self.runner.has_room
        for _ in range(len(self.ready)):
            if not self.ready or self._no_workers or not has_room() or self.stopping:
                break
            self._begin_turn(self.ready.popleft())
        were_waiting = self._were_waiting
        self._were_waiting = bool(self.ready) and (self._no_workers or not has_room())
        if were_waiting or self._were_waiting:
            self.runner.note_waiting(self._were_waiting)
        if self.ready and not self._were_waiting:
            # Those who have more to say go on after the loop has looked at all descriptors.
            self._again.start(self.sleeper.ring)

    def _begin_observed_turn(self, client: Client) -> None:
        if client.state is not DEDICATED:
            self.service.tell("busy", client.request, client.address)
        self.runner.begin(client)

    def call_after(self, seconds: float, callback: Callable[[], Any]) -> None:
        """Call `callback` in the hub once `seconds` are over; from this thread only."""
        timer = self._new_timer(seconds)

        def fire() -> None:
            timer.close()
            self._timers.remove(timer)
            callback()

        timer.start(fire)

    def read_settings(self) -> None:
        """Take over the server's limits, which may have been set a moment ago."""
        if self._ended:
            return
        service = self.service
        self.admission.read_settings()
        limits = service.limits
        if limits.idle_timeout is not None or limits.overflow == "evict" or self.observes:
            self.time_clients()
        elif type(self.lot) is TimedLot:
            self.lot.begin(None, tcp_options.seconds_without_data)
        self.stalls.read_settings()
        if service.is_paused:
            self.listener.hold("paused")
        else:
            self.listener.release("paused")
        self.listener.release("full")
        self.attend()
        self.sleeper.ring_after_events()

    def time_clients(self) -> TimedLot:
        """Have the lot keep its clients in the order of their parking."""
        lot: Any = self.lot
        idle_timeout = self.service.limits.idle_timeout
        if type(lot) is not TimedLot or lot.idle_timeout != idle_timeout:
            lot.__class__ = TimedLot
            lot.begin(idle_timeout, tcp_options.seconds_without_data)
        if self.observes:
            lot.on_park = self._parking
        return lot  # type: ignore[no-any-return]

    def look_when_one_parks(self) -> None:
        """Everybody is busy, and a newcomer waits for whoever is parked next to be evicted."""
        self._waits_for_parking = True
        self.time_clients().on_park = self._parking

    def _parking(self, client: Client) -> None:
        if self._waits_for_parking:
            self._waits_for_parking = False
            self.listener.release("full")
        if self.observes:
            self.service.tell("parked", client.request, client.address)
        else:
            self.time_clients().on_park = None

    def attend(self) -> None:
        """Have the lot say when a client has gone, if anybody waits for that."""
        wanted = (
            self.observes
            or self.admission.networks is not None
            or self.listener.is_held("full")
            or self._on_leaving is not None
        )
        self.lot.on_gone = self._lot_client_gone if wanted else None

    def watch_leaving(self, callback: Callable[[], Any]) -> None:
        """Call `callback` whenever a client has gone."""
        self._on_leaving = callback
        self.attend()

    def _lot_client_gone(self, request: Any, client_address: Any) -> None:
        self.client_gone(id(request), request, client_address)

    def client_gone(self, key: int, request: Any, client_address: Any) -> None:
        """A client has gone, whose request has or had the identity `key`, and is None if lost."""
        if self.admission.networks is not None:
            self.admission.networks.release(key)
        self.look_for_room()
        if self.observes and request is not None:
            self.service.tell("closed", request, client_address)

    def look_for_room(self) -> None:
        """A client has gone; from the hub too."""
        if self.listener.is_held("full") and self.admission.room() > 0:
            self.listener.release("full")
        if self._on_leaving is not None:
            self._on_leaving()

    def postpone(self, client: Client) -> None:
        """No thread or process is to be had for `client`: it comes first once there is one."""
        self.ready.appendleft(client)
        self.note_no_workers()

    def note_no_workers(self) -> None:
        """No thread or process is to be had: try again a little later."""
        if not self._no_workers:
            self._no_workers = True
            self.call_after(self._workers.met(), self._look_for_workers)

    def _look_for_workers(self) -> None:
        self._no_workers = False
        self.sleeper.ring()

    def worker_started(self) -> None:
        """There was a thread or process to be had."""
        if self._workers.pause:
            self._workers.over()

    def _run_without_descriptor(self) -> None:
        """Serve where get_request itself waits; after an OSError, once `poll_interval` is over."""
        server = self.server
        self.sleeper.ring_every(self._poll_interval)
        while not self.stopping:
            if self.service.acceptor.accept_one() is not None:
                self.sleeper.sleep()
            self._begin_turns()
            server.service_actions()

    def stay_behind(self, lives_on: bool) -> None:
        """In a child of the program's: have the hub, which turns here too, not wake the parent's.

        Args:
            lives_on: whether the serving greenlet has forked, and serves on here.
        """
        for queue in (self.ready, self.returned, self._errands):
            queue.clear()
        self._lock = _thread.RLock()
        self.sleeper.renew_lock()
        self.stalls.stay_behind()
        if lives_on:
            return
        self.listener.close()
        for timer in self._timers:
            timer.stop()
            timer.close()
        self.sleeper.stay_behind()

    def _close(self) -> None:
        self.listener.close()
        self.admission.close()
        self.stalls.close()
        for timer in self._timers:
            timer.stop()
            timer.close()
        with self._lock:
            self._ended = True
        while self._errands:
            self._errands.popleft()()
