"""GreenletMixIn: each turn in a greenlet of the serving thread's hub."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterator
from time import monotonic
from typing import TYPE_CHECKING, Any

from greensock.handlers import whereabouts
from greensock.hub import lifetime
from greensock.hub.lifetime import threads_are_greenlets
from greensock.hub.workers.greenlet_pool import GreenletPool
from greensock.lot.client import ENDING, Client
from greensock.lot.outcomes import END, GO_ON, PARK, Outcome, Turn
from greensock.lot.ready import ReadyQueue
from greensock.servers.base import BaseServer
from greensock.serving.run import Run
from greensock.serving.runner import AtWork, Beginner, Runner, hang_up
from greensock.serving.service import Service
from greensock.settings.unmixed import Unmixed

_log = logging.getLogger("greensock.serve")

# Seconds that handlers which a drain has cut have for their `finally` where their hub ends.
_UNWINDING = 0.5

# Seconds in which the hub looks at all descriptors once.
_A_TURN = 0.001

if TYPE_CHECKING:
    _Base = BaseServer
else:
    _Base = Unmixed


class GreenletRunner(Runner):
    """Runs turns in greenlets of the serving thread's hub."""

    hands_over = True
    server: GreenletMixIn

    def __init__(self, service: Service) -> None:
        super().__init__(service)
        self.pool: GreenletPool | None = None
        #: Those of other threads, in which handlers of earlier runs of `serve_forever` are busy.
        self._other_pools: tuple[GreenletPool, ...] = ()
        #: Whether a native thread has its hub for `pool` only, and leaves it behind at its end.
        self._hub_is_for_greenlets = False
        self._turns_at_work: dict[int, Turn] = {}

    def pools(self) -> tuple[GreenletPool, ...]:
        """All of them, that of the last run first."""
        return self._other_pools if self.pool is None else (self.pool, *self._other_pools)

    def pool_here(self) -> GreenletPool:
        """That of the calling thread's hub."""
        pool = self.pool
        if pool is None or not pool.is_here():
            run = self._what_runs()
            self._other_pools = tuple(each for each in self.pools() if not each.is_done())
            self._hub_is_for_greenlets = not (lifetime.has_hub() or lifetime.in_main_thread())
            service = self.service
            pool = self.pool = GreenletPool(
                run, lambda: service.limits.max_greenlets, service.contexts
            )
        return pool

    def _what_runs(self) -> Callable[[Any], bool]:
        run: Callable[[Any], bool] = self._run_turn
        if type(self.server).process_request_greenlet is not (
            GreenletMixIn.process_request_greenlet
        ):
            run = self._run_overridden_turn
        elif self.service.is_of_datagrams:
            run = self._run_datagram
        if self.service.observes():
            run = functools.partial(self._run_observed_turn, run)
        return run

    def process(self, request: Any, client_address: Any) -> None:
        """What the hook `process_request` does: park the client, or start its handler."""
        if self.service.admit(request, client_address) is None:
            self.service.clients.begin_dedicated(request, client_address)
            self.pool_here().submit((request, client_address))

    def process_in_greenlet(self, request: Any, client_address: Any) -> None:
        """What the hook `process_request_greenlet` does."""
        turn = self._turns_at_work.get(id(request))
        if turn is None:
            self.service.endings.serve_dedicated(request, client_address)
        else:
            turn.outcome = self.service.turns.serve(turn.client)

    def ready_queue(self, run: Run) -> ReadyQueue:
        """The pool's own: it hands the ready to its workers without the serving greenlet."""
        pool = self.pool_here()
        return ReadyQueue(pool.jobs, pool.schedule, pool.dispatch)

    def begin(self, client: Client) -> None:
        """Have a greenlet run a turn."""
        self.pool_here().submit(client)

    def quick_beginner(self, standard: Callable[..., Any]) -> Beginner | None:
        """What queues a datagram with what handles it."""
        hooks = type(self.server).process_request, type(self.server).process_request_greenlet
        if hooks != (GreenletMixIn.process_request, GreenletMixIn.process_request_greenlet):
            return None
        pool, run = self.pool_here(), self.service.quick_runner()
        jobs = pool.jobs

        def begin(request: Any, client_address: Any, server: Any) -> None:
            if not jobs:
                pool.schedule()
            jobs.append((request, client_address, run))

        return begin

    def is_worker(self) -> bool:
        """Whether the caller is one of the greenlets."""
        return any(pool.is_worker() for pool in self.pools())

    def at_work(self) -> Iterator[AtWork]:
        """The handlers whose greenlets block."""
        for pool in self.pools():
            for worker, job in pool.at_work():
                yield self._describe(pool, worker, job)

    def _describe(self, pool: GreenletPool, worker: Any, job: Any) -> AtWork:
        request, address = job[:2] if isinstance(job, tuple) else (job.request, job.address)

        def cut() -> None:
            if not isinstance(request, tuple):
                hang_up(request)
            pool.end(worker)

        return AtWork(address, request, whereabouts.find(worker.gr_frame).line, cut)

    def join(self, timeout: float) -> bool:
        """Wait until no greenlet has anything to do."""
        deadline = monotonic() + timeout
        return all(pool.join(max(0.0, deadline - monotonic())) for pool in self.pools())

    def join_all(self) -> None:
        """What `server_close()` does at last, if it waits for the handlers."""
        service = self.service
        if self.blocks_on_close() and not self.is_worker():
            for pool in self.pools():
                pool.join(None if service.limits.graceful_timeout is None else 0)
            service.on_serving_greenlet(service.close_clients)
        if self.pool is not None and self.pool.is_here():
            self.pool.close()

    def blocks_on_close(self) -> bool:
        """Whether the end of the server, or of its hub, waits for the handlers."""
        return self.server.block_on_close

    def _run_turn(self, job: Client | tuple[Any, Any]) -> bool:
        """In a worker: run a turn, or a whole request; say whether it wants to go on at once."""
        service = self.service
        endings = service.endings
        if isinstance(job, tuple):
            # All that is in these frames while a handler blocks is paid for by every client that
            # keeps a greenlet: no context manager, no argument tuple.
            request, client_address = job
            try:
                endings.serve_dedicated(request, client_address)
            except BaseException as error:  # noqa: BLE001 - raised again if it is the owner's
                endings.contain(error)
            finally:
                service.clients.end_dedicated(request, client_address)
            return False
        if job.state is ENDING:
            service.turns.end(job)
            return False
        # What `Turns.serve` does, and `_goes_on` for the usual outcome: two calls are 2 % of an
        # exchange.
        try:
            outcome = service.turns.run(job)
        except BaseException as error:  # noqa: BLE001 - raised again if it is not the handler's
            endings.end_one_of_many(job, error)
            return False
        lot = job.lot
        if outcome is PARK and lot is not None and not service.is_closed:
            lot.park(job)
            return False
        if outcome is END:
            try:
                endings.end(job)
            except BaseException as error:  # noqa: BLE001 - raised again if it is the owner's
                endings.contain(error)
            return False
        return self._goes_on(job, outcome)

    def _run_datagram(self, job: tuple[Any, ...]) -> bool:
        """In a worker: handle a datagram, through what a `quick_beginner` found, if one did."""
        if len(job) == 2:
            return self._run_turn(job)
        request, client_address, run = job
        try:
            run(request, client_address, self.server)
        except BaseException as error:  # noqa: BLE001 - raised again if it is the owner's
            self.service.endings.tell_beside(request, client_address, error)
        return False

    def _run_observed_turn(
        self, run: Callable[[Client | tuple[Any, Any]], bool], job: Client | tuple[Any, Any]
    ) -> bool:
        """As `run`, after on_connection was told."""
        if not isinstance(job, tuple):
            self.service.tell("busy", job.request, job.address)
        return run(job)

    def _run_overridden_turn(self, job: Client | tuple[Any, Any]) -> bool:
        """As `_run_turn`, through the program's own process_request_greenlet."""
        if isinstance(job, tuple):
            try:
                self._call_overridden(*job)
            finally:
                self.service.clients.end_dedicated(*job)
            return False
        turn = self._turns_at_work[id(job.request)] = Turn(job)
        try:
            self._call_overridden(job.request, job.address)
        finally:
            self._turns_at_work.pop(id(job.request), None)
        if turn.outcome is END:
            self.release(job)
        return self._goes_on(job, turn.outcome)

    def _call_overridden(self, request: Any, client_address: Any) -> None:
        try:
            self.server.process_request_greenlet(request, client_address)
        except BaseException as error:  # noqa: BLE001 - raised again if it is the owner's
            self.service.endings.tell_beside(request, client_address, error)

    def _goes_on(self, client: Client, outcome: Outcome) -> bool:
        """Park the client if that is the outcome; say whether it wants another turn at once."""
        service, lot = self.service, client.lot
        if outcome is END:
            return False
        is_left = service.run is None
        if service.is_closed and (is_left or (lot is not None and outcome is PARK)):
            # Nobody comes for it any more.
            self.close_client(client)
            return False
        if lot is None:
            # The next run of serve_forever goes on with it, or server_close() ends it.
            service.clients.come_back(client, outcome)
            return False
        if outcome is PARK:
            lot.park(client)
        return outcome is GO_ON

    def give_greenlets_time(self) -> None:
        """Turn the hub for the handlers that were begun outside of serve_forever.

        Nobody else does: with the caller's thread its greenlets would end, and while it blocks in
        something of its own, they would stand still. The main thread does not end; it may be the
        very client that they wait for.
        """
        pool = self.pool
        if self.service.run is not None or threads_are_greenlets():
            return
        if pool is None or not pool.is_here() or pool.is_worker():
            return
        fileno: Callable[[], int] | None = getattr(self.server, "fileno", None)
        timeout = _A_TURN if lifetime.in_main_thread() else self.server.timeout
        pool.join_unless_readable(-1 if fileno is None else fileno(), timeout)
        if not pool.busy and self._hub_is_for_greenlets:
            pool.close()
            self.pool = None
            lifetime.end_hub_here()

    def leave_hub(self, hub_ends: bool) -> None:
        """Wait for the handlers, or end them, where their hub ends."""
        pool = next((each for each in self.pools() if each.is_here()), None)
        if pool is None or not hub_ends:
            return
        if not pool.is_done():
            # They may take for ever, and one of them may wait for just this.
            self.service.lifecycle.do_not_wait_for_hub()
        # A drain has cut what is still there.
        draining, limits = self.server.draining, self.service.limits
        if not draining and not (self.blocks_on_close() and pool.join(limits.graceful_timeout)):
            pool.kill()
        if not pool.join(_UNWINDING if draining else None):
            _log.warning("a handler lets nobody end it, and is left behind")
            lifetime.spare_hub()
        pool.close()
        self._other_pools = tuple(each for each in self._other_pools if each is not pool)
        if self.pool is pool:
            self.pool = None

    def renew(self, lives_on: bool) -> Any:
        """In a child of the program's: the greenlets go on only where theirs has forked."""
        left = (self._turns_at_work, None if lives_on else self.pool)
        self._turns_at_work = {}
        if not lives_on:
            self.pool = None
        return left

    def stay_behind(self) -> list[Any]:
        """In a child of the program's: the requests of which the parent's greenlets are."""
        return [] if self.pool is None else self.pool.stay_behind()


class GreenletMixIn(_Base):
    """Mix-in class to handle each request in a greenlet.

    Class variables:

    - `max_greenlets`: how many handlers may be busy at once; further clients who are ready wait in
      the lot. None (the default): no limit. Idle clients who are parked never count.
    - `block_on_close`: whether `server_close()` waits until all handlers have ended.

    Methods that may be overridden: `process_request_greenlet(request, client_address)`.

    Greenlets are used again, but only where nobody can tell: context variables, locals and whatever
    else a handler leaves behind never reach another client's.

    Outside of `serve_forever`, in a process that gevent has not patched, `handle_request()` gives
    the greenlets their time. In the main thread that is a turn of the hub; in another, which may
    end, it returns once all have ended, the next request is there, or its `timeout` is over.

    Errors: `sys.exit()` in a handler ends that handler, as in a thread; KeyboardInterrupt, and what
    a signal's handler raises there, reaches the main greenlet.
    """

    block_on_close = True
    max_greenlets: int | None = None

    _greensock_runner: Callable[[Service], Runner] = GreenletRunner

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start a greenlet for the request, or park its client."""
        self._greensock.runner.process(request, client_address)

    def process_request_greenlet(self, request: Any, client_address: Any) -> None:
        """As in a server without a mixin but in a greenlet; errors are handled here.

        May be extended: it is called once for each turn of a client.
        """
        runner_of(self).process_in_greenlet(request, client_address)

    def _handle_request_noblock(self) -> None:
        super()._handle_request_noblock()
        runner_of(self).give_greenlets_time()

    def server_close(self) -> None:
        """Close as the server does, then wait for the handlers if `block_on_close`."""
        super().server_close()
        runner_of(self).join_all()


def runner_of(server: GreenletMixIn) -> GreenletRunner:
    """What runs the turns of a server of this mixin's."""
    runner = server._greensock.runner
    assert isinstance(runner, GreenletRunner)
    return runner
