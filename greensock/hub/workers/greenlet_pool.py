"""Pooled greenlets: where turns run that share the hub's thread.

Creating a greenlet costs an mmap and a munmap (8-10 us on CPython 3.11), taking a pooled one 0.6
us. But a greenlet is also an identity that others can keep: a `gevent.local`, a forgotten
`gevent.Timeout`, a registry, an outside `kill()`. Whatever knew it during one turn would meet the
next client's turn on it. So a worker is used again only if nobody else knows it: its reference and
weak-reference counts are what they were, and its `__dict__` is empty. All else retires it.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextvars import Context
from typing import Any, Protocol
from weakref import getweakrefcount

from gevent import get_hub, getcurrent, sleep
from gevent._hub_local import get_hub_if_exists
from greenlet import GreenletExit, greenlet

from greensock.hub import lifetime
from greensock.hub.loop_ends import call_soon
from greensock.hub.signals import interrupts
from greensock.hub.waiting import READ, leave_for, new_watcher
from greensock.hub.waking import Latch

# A burst of handlers that block leaves as many idle workers behind; each keeps about 6 KiB of
# stack. Arbitrary: enough for what is busy between two blockings, too few to matter (400 KiB).
_MAX_IDLE = 64


class JobContexts(Protocol):
    """What jobs keep in context variables, from one run to the next; most keep nothing."""

    def __len__(self) -> int: ...

    def take(self, job: Any) -> Context | None:
        """The context that a job is to run in, if one was kept for it."""

    def keep(self, job: Any, context: Context) -> None:
        """After a job that ran in `context`: keep it, if it is wanted again."""


class GreenletPool:
    """Runs jobs in greenlets of this thread's hub, at most `limit()` of them at a time.

    Args:
        run: called with a job, in a worker. It returns True if the job wants to go on after the
            others had their turn. It must not raise but for KeyboardInterrupt and the like, which
            go to the hub and with it to the main greenlet.
        limit: the most workers that may be busy at once, or None; asked each time.
        contexts: of those jobs that keep something in theirs.
    """

    def __init__(
        self,
        run: Callable[[Any], bool],
        limit: Callable[[], int | None],
        contexts: JobContexts | None = None,
    ) -> None:
        self._hub = get_hub()
        self._run = run
        self._limit = limit
        self._contexts = contexts
        #: The queue. Whoever appends to it while it is empty calls `schedule()`.
        self.jobs: deque[Any] = deque()
        self._unfinished: list[Any] = []
        self._idle: list[Any] = []
        self._workers: set[Any] = set()
        self._scheduled = False
        # One bound method for all workers.
        self._body = self._work
        #: The worker that has run without blocking since it was switched to, if there is one.
        self._dispatched: Any = None
        self._refs_at_rest: int | None = None
        self._next_turn: Any = None
        self._joiners: list[Latch] = []
        self._closed = False
        #: Workers that are the parent's: were nothing to refer to them, they would be ended.
        self._left: set[Any] = set()

    def is_here(self) -> bool:
        """Whether this thread's hub is the one whose greenlets these are."""
        return get_hub_if_exists() is self._hub

    def is_worker(self) -> bool:
        """Whether the caller runs in one of these greenlets."""
        return getcurrent() in self._workers

    @property
    def busy(self) -> int:
        """How many workers are running a job, blocked ones included."""
        return len(self._workers) - len(self._idle)

    def is_done(self) -> bool:
        """Whether no job is queued or running."""
        return not (self.jobs or self._unfinished or self.busy)

    def submit(self, job: Any) -> None:
        """Queue `job`; from the hub or any greenlet of its thread. It runs after this loop turn."""
        if not self.jobs:
            self.schedule()
        self.jobs.append(job)

    def at_work(self) -> Iterator[tuple[Any, Any]]:
        """Each worker that is blocked in a job, and that job, as its frames tell.

        One after the other: the caller may let the hub turn in between.
        """
        for worker in self._workers.difference(self._idle):
            frame = worker.gr_frame
            while frame is not None and frame.f_code is not GreenletPool._run_jobs.__code__:
                frame = frame.f_back
            if frame is not None and frame.f_locals.get("job") is not None:
                yield worker, frame.f_locals["job"]

    def end(self, worker: Any) -> None:
        """Raise GreenletExit in a worker, soon."""
        # Its hub may have ended since somebody saw it at work, and every worker with it.
        call_soon(self._hub.loop, worker.throw, GreenletExit)

    def join(self, timeout: float | None = None) -> bool:
        """Block until no job is queued or running; from any thread or greenlet but a worker.

        Returns whether it came to that, rather than `timeout` seconds over.
        """
        return self._next_end().wait(timeout)

    def join_unless_readable(self, fd: int, timeout: float | None) -> None:
        """As `join`, from a greenlet of this thread, but no longer than until `fd` is readable.

        -1: no descriptor.
        """
        latch = self._next_end()
        if fd < 0:
            latch.wait(timeout)
            return
        watcher = new_watcher(fd, READ)
        try:
            watcher.start(latch.set)
            latch.wait(timeout)
        finally:
            watcher.stop()
            watcher.close()

    def _next_end(self) -> Latch:
        """What is set once no job is queued or running."""
        latch = Latch()
        self._joiners.append(latch)
        self._release_joiners()
        return latch

    def kill(self) -> None:
        """Raise GreenletExit in every busy worker, soon, and drop what is queued."""
        self.jobs.clear()
        for worker in self._workers.difference(self._idle):
            # Through the hub: thrown from here, control would end up there and not come back.
            self._hub.loop.run_callback(worker.throw, GreenletExit)

    def stay_behind(self) -> list[Any]:
        """In a child: leave to the parent all jobs, and the workers that run one; return the jobs.

        The calling worker, if it is one, runs no other job than its own.
        """
        left = [*self.jobs, *self._unfinished, *(job for _, job in self.at_work())]
        self._left = self._workers.difference(self._idle)
        self._closed = getcurrent() in self._left
        self._workers.intersection_update(self._idle)
        self.jobs.clear()
        self._unfinished.clear()
        self._joiners.clear()
        self._close_next_turn()
        return left

    def dismiss(self, seconds: float) -> None:
        """Kill and close; for `seconds` at most what is killed is waited for.

        A worker that lets nobody end it keeps its hub from being destroyed.
        """
        self.kill()
        if not self.join(seconds):
            lifetime.spare_hub()
        self.close()

    def close(self) -> None:
        """End the idle workers now, and each busy one as soon as it has nothing to do.

        Jobs that are queued, or come later, still run; no worker is kept for another.
        """
        self._closed = True
        if not self._unfinished:
            self._close_next_turn()
        for worker in self._idle:
            self._hub.loop.run_callback(self._end_if_idle, worker)
        # So that they are gone; in the hub itself, nobody can wait for that.
        while self._idle and getcurrent() is not self._hub:
            sleep(0)

    def _end_if_idle(self, worker: Any) -> None:
        """In the hub. Since this was scheduled, a job may have been given to the worker."""
        if worker in self._idle:
            worker.throw(GreenletExit)

    def _close_next_turn(self) -> None:
        if self._next_turn is not None:
            self._next_turn.stop()
            self._next_turn.close()
            self._next_turn = None

    def _release_joiners(self) -> None:
        if self._joiners and self.is_done():
            joiners, self._joiners = self._joiners, []
            for latch in joiners:
                latch.set()

    def schedule(self) -> None:
        """Have the queue handed out once this loop turn's events are in; in the hub's thread."""
        if not self._scheduled:
            self._scheduled = True
            self._hub.loop.run_callback(self.dispatch)

    def dispatch(self) -> None:
        """In the hub: hand the queue to a worker, and to a further one each time one blocks."""
        self._scheduled = False
        limit = self._limit()
        while self.jobs and (limit is None or self.busy < limit):
            self._dispatch_to_one()
        if self._unfinished:
            # Only after the loop has looked at its descriptors: a callback scheduled from here
            # would run before that, and one client who floods would starve all the others.
            if self._next_turn is None:
                self._next_turn = self._hub.loop.timer(0)
            self._next_turn.start(self._resume_unfinished)
        elif self._joiners:
            self._release_joiners()

    def _dispatch_to_one(self) -> None:
        # A function of its own: were `worker` a variable of the loop, it would still refer to the
        # last worker while that one's references are counted.
        worker = self._take_worker()
        self._dispatched = worker
        worker.switch()
        self._dispatched = None

    def _resume_unfinished(self) -> None:
        jobs, self._unfinished = self._unfinished, []
        for job in jobs:
            self.submit(job)
        if self._closed:
            self._close_next_turn()

    def _take_worker(self) -> Any:
        while self._idle:
            worker = self._idle.pop()
            if (
                sys.getrefcount(worker) == self._refs_at_rest
                and not getweakrefcount(worker)
                and not worker.__dict__
            ):
                return worker
            worker.throw(GreenletExit)
        return self._new_worker()

    def _new_worker(self) -> Any:
        worker = greenlet(self._body, self._hub)
        self._workers.add(worker)
        # To its first rest: a greenlet's first switch to the hub raises its count for good.
        worker.switch()
        if self._refs_at_rest is None:
            self._refs_at_rest = sys.getrefcount(worker)
        return worker

    def _work(self) -> None:
        me = getcurrent()
        hub = self._hub
        try:
            leave_for(hub)
            while self._run_jobs(me) and len(self._idle) < _MAX_IDLE and not self._closed:
                self._idle.append(me)
                if self.jobs or self._unfinished:
                    self.schedule()
                elif self._joiners:
                    self._release_joiners()
                try:
                    leave_for(hub)
                except BaseException as error:  # noqa: BLE001 - nobody's, or passed on
                    # Something that an earlier turn left behind, or a retirement, or a kill():
                    # whatever it is, nobody's request is running here to be told.
                    if interrupts.is_interrupt(error):
                        interrupts.pass_on(error)
                    return
        finally:
            self._workers.discard(me)
            if me in self._idle:
                self._idle.remove(me)
            if self.jobs or self._unfinished:
                self.schedule()
            elif self._joiners:
                self._release_joiners()

    def _run_jobs(self, me: Any) -> bool:
        """Run queued jobs until one blocks; say whether nobody got to know this greenlet."""
        jobs, run, contexts = self.jobs, self._run, self._contexts
        count_references, count_weak_references = sys.getrefcount, getweakrefcount
        refs = count_references(me)
        while jobs:
            job = jobs.popleft()
            if contexts:
                me.gr_context = contexts.take(job)
            if run(job):
                self._unfinished.append(job)
            context = me.gr_context
            if context is not None:
                me.gr_context = None
                if contexts is not None:
                    contexts.keep(job, context)
            job = context = None
            if self._dispatched is not me:
                # It blocked: who resumed it may hold a reference just now, so that only at rest
                # can be told whether someone keeps one.
                break
            if count_references(me) != refs or count_weak_references(me) or me.__dict__:
                return False
        return True
