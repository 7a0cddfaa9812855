"""GreenletMixIn: each turn in a greenlet of the serving thread's hub."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterator
from time import monotonic
from typing import TYPE_CHECKING, Any

from greensock import endings, turns, whereabouts
from greensock.base_server import BaseServer
from greensock.draining import AtWork, hang_up
from greensock.handlers import quick_runner
from greensock.hub import lifetime
from greensock.hub.lifetime import threads_are_greenlets
from greensock.hub.lot import Client, ReadyQueue
from greensock.hub.workers import WorkerPool
from greensock.serving import Serving
from greensock.turns import END, PARK, Turn
from greensock.unmixed import Unmixed

_log = logging.getLogger("greensock.serve")

# Seconds that handlers which a drain has cut have for their `finally` where their hub ends.
_UNWINDING = 0.5

# Seconds in which the hub looks at all descriptors once.
_A_TURN = 0.001

if TYPE_CHECKING:
    from greensock.datagram_servers import Beginner

    _Base = BaseServer
else:
    _Base = Unmixed


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

    _gs_hands_over = True
    _gs_of_process = ("_gs_pool", "_gs_turns_at_work")
    _gs_pool: WorkerPool | None = None
    #: Those of other threads, in which handlers of earlier runs of `serve_forever` are still busy.
    _gs_other_pools: tuple[WorkerPool, ...] = ()
    #: Whether a native thread has its hub for `_gs_pool` only, and leaves it behind at its end.
    _gs_hub_is_for_greenlets = False
    _gs_turns_at_work: dict[int, Turn] | None = None

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start a greenlet for the request, or park its client."""
        if self._gs_admit(request, client_address) is None:
            self._gs_begin_whole(request, client_address)
            self._gs_pool_here().submit((request, client_address))

    def process_request_greenlet(self, request: Any, client_address: Any) -> None:
        """As in a server without a mixin but in a greenlet; errors are handled here.

        May be extended: it is called once for each turn of a client.
        """
        turn = self._gs_turns_at_work.get(id(request)) if self._gs_turns_at_work else None
        if turn is None:
            endings.serve_whole(self, request, client_address)
        else:
            turn.outcome = turns.serve_turn(self, turn.client, self._gs_turn)

    def _handle_request_noblock(self) -> None:
        super()._handle_request_noblock()
        if self._gs_serving is None and not threads_are_greenlets():
            self._gs_give_greenlets_time()

    def _gs_give_greenlets_time(self) -> None:
        """Turn the hub for the handlers that were begun outside of serve_forever.

        Nobody else does: with the caller's thread its greenlets would end, and while it blocks in
        something of its own, they would stand still. The main thread does not end; it may be the
        very client that they wait for.
        """
        pool = self._gs_pool
        if pool is None or not pool.is_here() or pool.is_worker():
            return
        fileno: Callable[[], int] | None = getattr(self, "fileno", None)
        timeout = _A_TURN if lifetime.in_main_thread() else self.timeout
        pool.join_unless_readable(-1 if fileno is None else fileno(), timeout)
        if not pool.busy and self._gs_hub_is_for_greenlets:
            pool.close()
            self._gs_pool = None
            lifetime.end_hub_here()

    def server_close(self) -> None:
        """Close as the server does, then wait for the handlers if `block_on_close`."""
        super().server_close()
        if self._gs_blocks_on_close() and not self._gs_is_worker():
            for pool in self._gs_pools():
                pool.join(None if self._gs_limits.graceful_timeout is None else 0)
            self._gs_on_serving_greenlet(self._gs_close_clients)
        if self._gs_pool is not None and self._gs_pool.is_here():
            self._gs_pool.close()

    def _gs_pools(self) -> tuple[WorkerPool, ...]:
        return (
            self._gs_other_pools
            if self._gs_pool is None
            else (self._gs_pool, *self._gs_other_pools)
        )

    def _gs_blocks_on_close(self) -> bool:
        return self.block_on_close

    def _gs_is_worker(self) -> bool:
        return any(pool.is_worker() for pool in self._gs_pools())

    def _gs_at_work(self) -> Iterator[AtWork]:
        for pool in self._gs_pools():
            for worker, job in pool.at_work():
                yield self._gs_describe(pool, worker, job)

    def _gs_describe(self, pool: WorkerPool, worker: Any, job: Any) -> AtWork:
        request, address = job[:2] if isinstance(job, tuple) else (job.request, job.address)

        def cut() -> None:
            if not isinstance(request, tuple):
                hang_up(request)
            pool.end(worker)

        return AtWork(address, request, whereabouts.find(worker.gr_frame).line, cut)

    def _gs_join_workers(self, timeout: float) -> bool:
        deadline = monotonic() + timeout
        return all(pool.join(max(0.0, deadline - monotonic())) for pool in self._gs_pools())

    def _gs_pool_here(self) -> WorkerPool:
        pool = self._gs_pool
        if pool is None or not pool.is_here():
            hook = type(self).process_request_greenlet
            plain = hook is GreenletMixIn.process_request_greenlet
            run: Callable[[Any], bool] = (
                self._gs_run_turn if plain else self._gs_run_overridden_turn
            )
            if plain and not self._gs_is_stream():
                run = self._gs_run_datagram
            if self._gs_observes():
                run = functools.partial(self._gs_run_observed_turn, run)
            self._gs_other_pools = tuple(each for each in self._gs_pools() if not each.is_done())
            self._gs_hub_is_for_greenlets = not (lifetime.has_hub() or lifetime.in_main_thread())
            pool = self._gs_pool = WorkerPool(
                run, lambda: self._gs_limits.max_greenlets, self._gs_contexts
            )
        return pool

    def _gs_ready_queue(self, serving: Serving) -> ReadyQueue:
        pool = self._gs_pool_here()
        return ReadyQueue(pool.jobs, pool.schedule, pool.dispatch)

    def _gs_begin_turn(self, client: Client) -> None:
        self._gs_pool_here().submit(client)

    def _gs_run_turn(self, job: Client | tuple[Any, Any]) -> bool:
        """In a worker: run a turn, or a whole request; say whether it wants to go on at once."""
        if isinstance(job, tuple):
            # All that is in these frames while a handler blocks is paid for by every client that
            # keeps a greenlet: no context manager, no argument tuple.
            request, client_address = job
            try:
                endings.serve_whole(self, request, client_address)
            except BaseException as error:  # noqa: BLE001 - raised again if it is the owner's
                endings.contain(self, error)
            finally:
                self._gs_end_whole(request, client_address)
            return False
        # What `turns.serve_turn_of_many` does, and `_gs_goes_on` for the usual outcome: two calls
        # are 2 % of an exchange.
        try:
            outcome = self._gs_turn(self, job)
        except BaseException as error:  # noqa: BLE001 - raised again if it is not the handler's
            endings.end_one_of_many(self, job, error)
            return False
        lot = job.lot
        if outcome is PARK and lot is not None and not self._gs_is_closed:
            lot.park(job)
            return False
        if outcome is END:
            try:
                endings.end(self, job)
            except BaseException as error:  # noqa: BLE001 - raised again if it is the owner's
                endings.contain(self, error)
            return False
        return self._gs_goes_on(job, outcome)

    def _gs_quick_beginner(self) -> Beginner | None:
        hooks = type(self).process_request, type(self).process_request_greenlet
        if hooks != (GreenletMixIn.process_request, GreenletMixIn.process_request_greenlet):
            return None
        pool, run = self._gs_pool_here(), quick_runner(self.RequestHandlerClass)
        jobs = pool.jobs

        def begin(request: Any, client_address: Any, server: Any) -> None:
            if not jobs:
                pool.schedule()
            jobs.append((request, client_address, run))

        return begin

    def _gs_run_datagram(self, job: tuple[Any, ...]) -> bool:
        """In a worker: handle a datagram, through what a `_gs_quick_beginner` found, if one did."""
        if len(job) == 2:
            return self._gs_run_turn(job)
        request, client_address, run = job
        try:
            run(request, client_address, self)
        except BaseException as error:  # noqa: BLE001 - raised again if it is the owner's
            endings.tell_beside(self, request, client_address, error)
        return False

    def _gs_run_observed_turn(
        self, run: Callable[[Client | tuple[Any, Any]], bool], job: Client | tuple[Any, Any]
    ) -> bool:
        """As `run`, after on_connection was told."""
        if not isinstance(job, tuple):
            self._gs_tell("busy", job.request, job.address)
        return run(job)

    def _gs_run_overridden_turn(self, job: Client | tuple[Any, Any]) -> bool:
        """As `_gs_run_turn`, through the program's own process_request_greenlet."""
        if isinstance(job, tuple):
            try:
                self._gs_call_overridden(*job)
            finally:
                self._gs_end_whole(*job)
            return False
        if self._gs_turns_at_work is None:
            self._gs_turns_at_work = {}
        turn = self._gs_turns_at_work[id(job.request)] = Turn(job)
        try:
            self._gs_call_overridden(job.request, job.address)
        finally:
            del self._gs_turns_at_work[id(job.request)]
        if turn.outcome is turns.END:
            self._gs_release(job)
        return self._gs_goes_on(job, turn.outcome)

    def _gs_call_overridden(self, request: Any, client_address: Any) -> None:
        try:
            self.process_request_greenlet(request, client_address)
        except BaseException as error:  # noqa: BLE001 - raised again if it is the owner's
            endings.tell_beside(self, request, client_address, error)

    def _gs_goes_on(self, client: Client, outcome: turns.Outcome) -> bool:
        """Park the client if that is the outcome; say whether it wants another turn at once."""
        lot = client.lot
        if outcome is turns.END:
            return False
        is_left = self._gs_serving is None
        if self._gs_is_closed and (is_left or (lot is not None and outcome is turns.PARK)):
            # Nobody comes for it any more.
            self._gs_close_client(client)
            return False
        if lot is None:
            # The next run of serve_forever goes on with it, or server_close() ends it.
            self._gs_come_back(client, outcome)
            return False
        if outcome is turns.PARK:
            lot.park(client)
        return outcome is turns.GO_ON

    def _gs_leave_hub(self, hub_ends: bool) -> None:
        pool = next((each for each in self._gs_pools() if each.is_here()), None)
        if pool is not None and hub_ends:
            if not pool.is_done():
                # They may take for ever, and one of them may wait for just this.
                self._gs_do_not_wait_for_hub()
            # A drain has cut what is still there.
            if not self.draining and not (
                self._gs_blocks_on_close() and pool.join(self._gs_limits.graceful_timeout)
            ):
                pool.kill()
            if not pool.join(_UNWINDING if self.draining else None):
                _log.warning("a handler lets nobody end it, and is left behind")
                lifetime.spare_hub()
            pool.close()
            self._gs_other_pools = tuple(each for each in self._gs_other_pools if each is not pool)
            if self._gs_pool is pool:
                self._gs_pool = None
        super()._gs_leave_hub(hub_ends)
