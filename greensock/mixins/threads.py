"""ThreadingMixIn: each turn in a thread of its own, and no thread for a parked client."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from greensock import turns
from greensock.handlers import ends_plainly
from greensock.hub.crowd import Crowd
from greensock.hub.lifetime import threads_are_greenlets
from greensock.hub.lot import BUSY, ENDING, PARKED, Client
from greensock.hub.waking import Latch
from greensock.net.cooperative_sockets import CooperativeSocket
from greensock.net.lingering_sockets import LingeringSocket
from greensock.net.request_sockets import OriginalSocket
from greensock.servers import BaseServer
from greensock.turns import Outcome, Turn

if TYPE_CHECKING:
    _Base = BaseServer
else:
    _Base = object


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

    def join(self) -> None:
        """Wait for every thread but the caller's own."""
        for thread in list(self._threads):
            if thread is not threading.current_thread() and thread.ident is not None:
                thread.join()

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

    _threads = Threads()
    _crowd: Crowd | None = None
    _turns_at_work: dict[int, Turn] | None = None
    _waiting_for_room: list[Latch] | None = None

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """As in a server without a mixin but in a thread; errors are handled here.

        May be extended: it is called once for each turn of a client.
        """
        turn = (self._turns_at_work or {}).get(id(request)) or Turn(Client(request, client_address))
        if self._runs_on_hub():
            turn.outcome = turns.serve_turn(self, turn.client)
        else:
            turn.outcome = turns.serve_turn(
                self,
                turn.client,
                functools.partial(turns.run_lingering_turn, linger=self.linger, crowd=self._crowd),
            )

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start a thread for the request, or park its client."""
        if self._admit(request, client_address) is not None:
            return
        client = Client(request, client_address)
        if self._serving is None:
            while not self._has_room():
                self._wait_for_room()
        elif not self._has_room():
            self._serving.ready.append(client)
            return
        self._start_thread(client)

    def server_close(self) -> None:
        """Close as the server does, then wait for the threads if `block_on_close`."""
        super().server_close()
        if self.block_on_close:
            self._threads.join()
            self._on_serving_greenlet(self._close_clients)
            if self._crowd is not None:
                self._crowd.close()
                self._crowd = None

    def _runs_on_hub(self) -> bool:
        return threads_are_greenlets()

    def _request_class(self) -> type[OriginalSocket]:
        if self._runs_on_hub():
            return CooperativeSocket
        return LingeringSocket if self._shape().parks else OriginalSocket

    def _has_room(self) -> bool:
        return self.max_threads is None or len(self._turns_at_work or ()) < self.max_threads

    def _note_waiting(self, waiting: bool) -> None:
        if self._crowd is None and self.max_threads is not None:
            self._crowd = Crowd()
        if self._crowd is not None:
            self._crowd.set_waiting(waiting)

    def _wait_for_room(self) -> None:
        if self._waiting_for_room is None:
            self._waiting_for_room = []
        latch = Latch()
        self._waiting_for_room.append(latch)
        if not self._has_room():
            latch.wait()

    def _begin_turn(self, client: Client) -> None:
        serving = self._serving
        if serving is not None and serving.lot.holds(client):
            serving.lot.unwatch(client)
            unprompted = client.handler is None and not self._shape().waits_for_data
            if not unprompted and not turns.wants_turn(client):
                serving.lot.park(client)
                return
            if client.state is ENDING and ends_plainly(client.handler):
                serving.lot.discard(client)
                turns.serve_turn(self, client)
                return
        self._start_thread(client)

    def _start_thread(self, client: Client) -> None:
        if self.block_on_close and "_threads" not in vars(self):
            self._threads = Threads()
        if self._turns_at_work is None:
            self._turns_at_work = {}
        turn = self._turns_at_work[id(client.request)] = Turn(client)
        thread = threading.Thread(target=self._run_turn, args=(turn,))
        thread.daemon = self.daemon_threads
        if self.block_on_close:
            self._threads.append(thread)
        try:
            thread.start()
        except RuntimeError:
            # No thread to be had (memory, or the limit of processes): only this client is lost.
            self._threads.discard(thread)
            self._turns_at_work.pop(id(client.request), None)
            self._end_unstarted(client)

    def _end_unstarted(self, client: Client) -> None:
        self.handle_error(client.request, client.address)
        client.state = ENDING
        turns.serve_turn(self, client)
        if self._serving is not None:
            self._serving.settle(client, turns.END)

    def _run_turn(self, turn: Turn) -> None:
        """In the thread: run a turn, and hand the client back."""
        client = turn.client
        try:
            self.process_request_thread(client.request, client.address)
        finally:
            if self._turns_at_work is not None:
                self._turns_at_work.pop(id(client.request), None)
            # In this order: server_close() waits for the threads, and then closes who was parked.
            self._give_back(client, turn.outcome)
            self._threads.discard(threading.current_thread())

    def _give_back(self, client: Client, outcome: Outcome) -> None:
        serving = self._serving
        if serving is None:
            client.state = BUSY if outcome is turns.END else PARKED
        else:
            serving.returned.append((client, outcome))
            serving.sleeper.ring_soon()
        while self._waiting_for_room:
            self._waiting_for_room.pop().set()

    def _release(self, client: Client) -> None:
        """Nothing here: the lot is the serving greenlet's, and has no watcher of the client."""
