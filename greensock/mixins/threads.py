"""ThreadingMixIn: each turn in a thread of its own, and no thread for a parked client."""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable, Iterator
from time import monotonic
from types import FrameType
from typing import TYPE_CHECKING, Any

from greensock.handlers import whereabouts
from greensock.handlers.traits import ends_plainly
from greensock.hub.lifetime import current_greenlet
from greensock.hub.waking import Latch
from greensock.hub.workers.demand import Demand
from greensock.lot import contexts
from greensock.lot.client import Client
from greensock.lot.outcomes import Turn
from greensock.servers.base import BaseServer
from greensock.serving.runner import AtWork, BlockingRunner, Runner, hang_up
from greensock.serving.service import Service
from greensock.settings.unmixed import Unmixed

if TYPE_CHECKING:
    _Base = BaseServer
else:
    _Base = Unmixed


class Threads:
    """The handler threads that are running, for `server_close()` to wait for.

    Each leaves by itself when it ends. (CPython looks through all of them at each new one: 645 us
    an accept at 10,000.)
    """

    def __init__(self) -> None:
        self._threads: dict[threading.Thread, None] = {}

    def append(self, thread: threading.Thread) -> None:
        """Note `thread`, unless it is a daemon, which nobody waits for."""
        if not thread.daemon:
            self._threads[thread] = None

    def discard(self, thread: threading.Thread) -> None:
        self._threads.pop(thread, None)

    def join(self, timeout: float | None = None) -> None:
        """Wait for every thread but the caller's own, for `timeout` seconds in all at most."""
        deadline = None if timeout is None else monotonic() + timeout
        for thread in list(self._threads):
            if thread is not threading.current_thread() and thread.ident is not None:
                thread.join(None if deadline is None else max(0.0, deadline - monotonic()))

    def __iter__(self) -> Iterator[threading.Thread]:
        return iter(list(self._threads))

    def __len__(self) -> int:
        return len(self._threads)


class ThreadRunner(BlockingRunner):
    """Runs each turn in a thread."""

    resource = "threads"
    server: ThreadingMixIn

    def __init__(self, service: Service) -> None:
        super().__init__(service)
        self._turns_at_work: dict[int, Turn] = {}
        self._awaiting_ends: list[Latch] = []

    def process_in_thread(self, request: Any, client_address: Any) -> None:
        """What the hook `process_request_thread` does."""
        turn = self._turns_at_work.get(id(request))
        if turn is None:
            self.service.endings.serve_dedicated(request, client_address)
        else:
            self.run(turn)

    def turns_at_work(self) -> list[Turn]:
        """Those that are run by threads just now."""
        return list(self._turns_at_work.values())

    def is_worker(self) -> bool:
        """Whether the caller is a thread that runs a turn."""
        me = self._myself()
        return any(turn.runs_in is me for turn in self.turns_at_work())

    def _myself(self) -> Any:
        return current_greenlet() if self.runs_on_hub() else threading.current_thread()

    def at_work(self) -> Iterator[AtWork]:
        """The handlers in threads."""
        # Once for all of them: each call looks at every thread.
        frames = {} if self.runs_on_hub() else sys._current_frames()
        for turn in self.turns_at_work():
            yield self._describe(turn, frames)

    def _describe(self, turn: Turn, frames: dict[int, FrameType]) -> AtWork:
        client, runs_in = turn.client, turn.runs_in
        if isinstance(runs_in, threading.Thread):
            frame = frames.get(runs_in.ident or 0)
        else:
            frame = runs_in.gr_frame
        line = whereabouts.find(frame).line
        return AtWork(client.address, client.request, line, lambda: hang_up(client.request))

    def join(self, timeout: float) -> bool:
        """Wait until no thread has anything to do."""
        # Not only `_threads`, which knows no daemons, and where waiting stops the hub.
        deadline = monotonic() + timeout
        while self._others_at_work():
            left = deadline - monotonic()
            if left <= 0:
                return False
            latch = self._latch_of_next_end()
            if self._others_at_work():
                latch.wait(left)
        self.server._threads.join(max(0.0, deadline - monotonic()))
        return True

    def _others_at_work(self) -> bool:
        me = self._myself()
        return any(turn.runs_in is not me for turn in self.turns_at_work())

    def has_room(self) -> bool:
        """Whether fewer threads run than may."""
        most = self.service.limits.max_threads
        return most is None or len(self._turns_at_work) < most

    def wait_for_room(self) -> None:
        """Wait until a turn has ended."""
        latch = self._latch_of_next_end()
        if not self.has_room():
            latch.wait()

    def _latch_of_next_end(self) -> Latch:
        """What is set when the next turn ends."""
        latch = Latch()
        self._awaiting_ends.append(latch)
        return latch

    def ends_here(self, client: Client) -> bool:
        """Whether the end of a client runs no code of the program."""
        return ends_plainly(client.handler)

    def start(self, client: Client) -> None:
        """Start a thread for a turn, or for a whole request."""
        server = self.server
        if server.block_on_close and server._threads is type(server)._threads:
            server._threads = Threads()
        turn = self._turns_at_work[id(client.request)] = Turn(client)
        thread = turn.runs_in = threading.Thread(target=self._run_turn, args=(turn,))
        thread.daemon = server.daemon_threads
        if server.block_on_close:
            server._threads.append(thread)
        try:
            most = self.service.limits.max_threads
            if most is not None and self.demand is None and not self.runs_on_hub():
                # Before the first thread: made once somebody waits, it would be unknown to those
                # that they wait for.
                self.demand = Demand()
            thread.start()
        except (RuntimeError, OSError):
            # No thread to be had: memory, or the limit of processes. Or no descriptor.
            server._threads.discard(thread)
            self._turns_at_work.pop(id(client.request), None)
            self.service.have_no_worker(client)
        else:
            if self.service.run is not None:
                self.service.run.worker_started()

    def _run_turn(self, turn: Turn) -> None:
        """In the thread: run a turn, and hand the client back."""
        client, server = turn.client, self.server
        if self.runs_on_hub():
            turn.runs_in = current_greenlet()
        try:
            contexts.run_in_thread(
                self.service.contexts,
                client,
                functools.partial(server.process_request_thread, client.request, client.address),
            )
        finally:
            self._turns_at_work.pop(id(client.request), None)
            # In this order: server_close() waits for the threads, and then closes who was parked.
            self.hand_back(turn)
            while self._awaiting_ends:
                self._awaiting_ends.pop().set()
            server._threads.discard(threading.current_thread())

    def join_all(self) -> None:
        """What `server_close()` does at last, if it waits for the threads."""
        service = self.service
        if self.server.block_on_close:
            self.server._threads.join(None if service.limits.graceful_timeout is None else 0)
            service.on_serving_greenlet(service.close_clients)
            self.close()

    def renew(self, lives_on: bool) -> Any:
        """In a child of the program's: no thread but the caller's is there."""
        left = (self._turns_at_work, self._awaiting_ends, self.demand)
        self._turns_at_work, self._awaiting_ends, self.demand = {}, [], None
        return left, vars(self.server).pop("_threads", None)


class ThreadingMixIn(_Base):
    """Mix-in class to handle each request in a thread; a parked client has none.

    Threads are what `threading.Thread` starts: native ones, or greenlets after
    `gevent.monkey.patch_all()`.

    Class variables:

    - `daemon_threads`: whether the threads are daemons, which the end of the program does not wait
      for. False.
    - `block_on_close`: whether `server_close()` waits for the threads that are no daemons. True.
    - `max_threads`: how many handlers may be busy at once; further clients who are ready wait.
      None (the default): no limit.
    - `linger`: seconds for which a thread that has answered a client waits for that client's next
      request before it leaves the client to the lot and ends. 0: not at all.

    Methods that may be overridden: `process_request_thread(request, client_address)`.

    Differs from socketserver: of a request-wise handler, each turn has a thread, not each client;
    `process_request_thread` is called once a turn. A thread that cannot be started ends its client
    only.
    """

    daemon_threads = False
    block_on_close = True
    max_threads: int | None = None
    # Starting a thread costs 50-100 us: a client who asks again within this time is better served
    # by the thread it has. At 5,000 clients asking once a second each, 250 threads linger.
    linger = 0.05

    _greensock_runner: Callable[[Service], Runner] = ThreadRunner
    _threads = Threads()

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """As in a server without a mixin but in a thread; errors are handled here.

        May be extended: it is called once for each turn of a client.
        """
        runner_of(self).process_in_thread(request, client_address)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start a thread for the request, or park its client."""
        self._greensock.runner.process(request, client_address)

    def server_close(self) -> None:
        """Close as the server does, then wait for the threads if `block_on_close`."""
        super().server_close()
        runner_of(self).join_all()


def runner_of(server: ThreadingMixIn) -> ThreadRunner:
    """What runs the turns of a server of this mixin's."""
    runner = server._greensock.runner
    assert isinstance(runner, ThreadRunner)
    return runner
