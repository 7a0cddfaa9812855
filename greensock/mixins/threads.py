"""ThreadingMixIn: each turn in a thread of its own, and no thread for a parked client."""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Iterator
from time import monotonic
from types import FrameType
from typing import TYPE_CHECKING, Any

from greensock import endings, turns, whereabouts
from greensock.base_server import BaseServer
from greensock.draining import AtWork, hang_up
from greensock.handler_shape import ends_plainly
from greensock.hub import client_contexts
from greensock.hub.crowd import Crowd
from greensock.hub.lifetime import current_greenlet, threads_are_greenlets
from greensock.hub.lot import BUSY, ENDING, PARKED, WHOLE, Client
from greensock.hub.waking import Latch
from greensock.net.cooperative_sockets import CooperativeSocket
from greensock.net.lingering_sockets import LingeringSocket
from greensock.net.request_sockets import OriginalSocket
from greensock.turns import Outcome, Turn
from greensock.unmixed import Unmixed

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

    _gs_hands_over = True
    _gs_of_process = ("_threads", "_gs_crowd", "_gs_turns_at_work", "_gs_awaiting_ends")
    _gs_workers = "threads"
    _gs_accept_some = BaseServer._gs_accept_one
    _threads = Threads()
    _gs_crowd: Crowd | None = None
    _gs_turns_at_work: dict[int, Turn] | None = None
    _gs_awaiting_ends: list[Latch] | None = None

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """As in a server without a mixin but in a thread; errors are handled here.

        May be extended: it is called once for each turn of a client.
        """
        turn = self._gs_turns_at_work.get(id(request)) if self._gs_turns_at_work else None
        if turn is None or turn.client.state is WHOLE:
            endings.serve_whole(self, request, client_address)
        elif self._gs_runs_on_hub():
            turn.outcome = turns.serve_turn(self, turn.client, self._gs_turn)
        else:
            turn.outcome = turns.serve_turn(
                self,
                turn.client,
                functools.partial(
                    self._gs_lingering_turn,
                    linger=self._gs_limits.linger,
                    crowd=self._gs_crowd,
                    turn=turn,
                ),
            )

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start a thread for the request, or park its client."""
        if self._gs_admit(request, client_address) is not None:
            return
        client = Client(request, client_address)
        client.state = WHOLE
        self._gs_begin_whole(request, client_address)
        if self._gs_serving is None:
            while not self._gs_has_room():
                self._gs_wait_for_room()
        elif not self._gs_has_room():
            self._gs_serving.ready.append(client)
            return
        self._gs_start_thread(client)

    def server_close(self) -> None:
        """Close as the server does, then wait for the threads if `block_on_close`."""
        super().server_close()
        if self.block_on_close:
            self._threads.join(None if self._gs_limits.graceful_timeout is None else 0)
            self._gs_on_serving_greenlet(self._gs_close_clients)
            if self._gs_crowd is not None:
                self._gs_crowd.close()
                self._gs_crowd = None

    def _gs_runs_on_hub(self) -> bool:
        return threads_are_greenlets()

    def _gs_request_class(self) -> type[OriginalSocket]:
        if self._gs_runs_on_hub():
            return CooperativeSocket
        return LingeringSocket if self._gs_shape().needs_request_socket else OriginalSocket

    def _gs_is_worker(self) -> bool:
        me = self._gs_myself()
        return any(turn.runs_in is me for turn in list((self._gs_turns_at_work or {}).values()))

    def _gs_myself(self) -> Any:
        return current_greenlet() if self._gs_runs_on_hub() else threading.current_thread()

    def _gs_hurry_lingering(self, drained_at: float) -> None:
        self._gs_note_waiting(True)

    def _gs_at_work(self) -> Iterator[AtWork]:
        # Once for all of them: each call looks at every thread.
        frames = {} if self._gs_runs_on_hub() else sys._current_frames()
        for turn in list((self._gs_turns_at_work or {}).values()):
            yield self._gs_describe(turn, frames)

    def _gs_describe(self, turn: Turn, frames: dict[int, FrameType]) -> AtWork:
        client, runs_in = turn.client, turn.runs_in
        if isinstance(runs_in, threading.Thread):
            frame = frames.get(runs_in.ident or 0)
        else:
            frame = runs_in.gr_frame
        line = whereabouts.find(frame).line
        return AtWork(client.address, client.request, line, lambda: hang_up(client.request))

    def _gs_join_workers(self, timeout: float) -> bool:
        # Not only `_threads`, which knows no daemons, and where waiting stops the hub.
        deadline = monotonic() + timeout
        while self._gs_others_at_work():
            left = deadline - monotonic()
            if left <= 0:
                return False
            latch = self._gs_latch_of_next_end()
            if self._gs_others_at_work():
                latch.wait(left)
        self._threads.join(max(0.0, deadline - monotonic()))
        return True

    def _gs_others_at_work(self) -> bool:
        me = self._gs_myself()
        return any(turn.runs_in is not me for turn in list((self._gs_turns_at_work or {}).values()))

    def _gs_has_room(self) -> bool:
        most = self._gs_limits.max_threads
        return most is None or len(self._gs_turns_at_work or ()) < most

    def _gs_note_waiting(self, waiting: bool) -> None:
        if self._gs_crowd is not None:
            self._gs_crowd.set_waiting(waiting or self.draining)

    def _gs_wait_for_room(self) -> None:
        latch = self._gs_latch_of_next_end()
        if not self._gs_has_room():
            latch.wait()

    def _gs_latch_of_next_end(self) -> Latch:
        """What is set when the next turn ends."""
        if self._gs_awaiting_ends is None:
            self._gs_awaiting_ends = []
        latch = Latch()
        self._gs_awaiting_ends.append(latch)
        return latch

    def _gs_begin_turn(self, client: Client) -> None:
        serving = self._gs_serving
        if serving is not None and serving.lot.holds(client):
            serving.lot.unwatch(client)
            unprompted = client.handler is None and not self._gs_shape().waits_for_data
            if not unprompted and not self._gs_wants_turn(client):
                serving.lot.park(client)
                return
            if client.state is ENDING and ends_plainly(client.handler):
                serving.lot.discard(client)
                turns.serve_turn_of_many(self, client, self._gs_turn)
                return
        self._gs_start_thread(client)

    def _gs_start_thread(self, client: Client) -> None:
        if self.block_on_close and self._threads is type(self)._threads:
            self._threads = Threads()
        if self._gs_turns_at_work is None:
            self._gs_turns_at_work = {}
        turn = self._gs_turns_at_work[id(client.request)] = Turn(client)
        thread = turn.runs_in = threading.Thread(target=self._gs_run_turn, args=(turn,))
        thread.daemon = self.daemon_threads
        if self.block_on_close:
            self._threads.append(thread)
        try:
            most = self._gs_limits.max_threads
            if self._gs_crowd is None and most is not None and not self._gs_runs_on_hub():
                # Before the first thread: made once somebody waits, it would be unknown to those
                # that they wait for.
                self._gs_crowd = Crowd()
            thread.start()
        except (RuntimeError, OSError):
            # No thread to be had: memory, or the limit of processes. Or no descriptor.
            self._threads.discard(thread)
            self._gs_turns_at_work.pop(id(client.request), None)
            self._gs_have_no_worker(client)
        else:
            if self._gs_serving is not None:
                self._gs_serving.worker_started()

    def _gs_run_turn(self, turn: Turn) -> None:
        """In the thread: run a turn, and hand the client back."""
        client = turn.client
        if self._gs_runs_on_hub():
            turn.runs_in = current_greenlet()
        try:
            client_contexts.run_in_thread(
                self._gs_contexts,
                client,
                functools.partial(self.process_request_thread, client.request, client.address),
            )
        finally:
            if self._gs_turns_at_work is not None:
                self._gs_turns_at_work.pop(id(client.request), None)
            # In this order: server_close() waits for the threads, and then closes who was parked.
            self._gs_give_back(client, turn.outcome, turn.silent_since)
            self._threads.discard(threading.current_thread())

    def _gs_give_back(self, client: Client, outcome: Outcome, silent_since: float) -> None:
        serving = self._gs_serving
        if serving is None and client.state is WHOLE:
            self._gs_count_whole_out()
        elif serving is None and self._gs_is_closed and outcome is not turns.END:
            # Nobody comes for it any more.
            self._gs_close_client(client)
        elif serving is None:
            client.state = BUSY if outcome is turns.END else PARKED
        elif outcome is turns.END and not serving.ready:
            # Its watcher went before the thread came, and its request is closed: nothing is left to
            # do, for which waking the serving greenlet would cost each short connection a write and
            # a turn of the loop. Who finds no room from now on looks again before it waits.
            if client.state is WHOLE:
                self._gs_count_whole_out()
            elif serving.lot.holds(client):
                serving.lot.forget(client)
            if serving.lot.on_gone is not None:
                serving.do_soon(
                    functools.partial(serving.lot.on_gone, client.request, client.address)
                )
        else:
            serving.returned.append((client, outcome, silent_since))
            serving.sleeper.ring_soon()
        while self._gs_awaiting_ends:
            self._gs_awaiting_ends.pop().set()

    def _gs_release(self, client: Client) -> None:
        """Nothing here: the lot is the serving greenlet's, and has no watcher of the client."""
