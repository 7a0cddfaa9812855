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
from typing import Any

from greensock.hub.lot import PARKED, Client, Lot
from greensock.hub.sleeper import Sleeper
from greensock.hub.waiting import READ, new_watcher
from greensock.net.listening import AcceptError, non_blocking, switch_nagle_off
from greensock.turns import Outcome

_log = logging.getLogger("greensock.serve")

# Seconds before the next try to accept when descriptors or memory have run out, doubling from the
# first to the last: the figures of gevent's BaseServer.
_FIRST_BACK_OFF = 0.01
_LAST_BACK_OFF = 1.0


class Serving:
    """The state of one run of `serve_forever`; everything here belongs to the serving greenlet.

    Args:
        server: the server; its hooks are called.
        poll_interval: seconds between calls of an overridden `service_actions`.
    """

    def __init__(self, server: Any, poll_interval: float) -> None:
        self.server = server
        self.sleeper = Sleeper()
        #: Clients whose turn waits to be begun by the serving greenlet.
        self.ready: deque[Client] = deque()
        ready, schedule = server._ready_queue(self)
        self.lot = Lot(ready, schedule, self.client_silent, self.sleeper.ring_soon)
        #: Clients whose turn ended in another thread, with its outcome.
        self.returned: deque[tuple[Client, Outcome]] = deque()
        #: What other greenlets and threads want done here.
        self._errands: deque[Callable[[], Any]] = deque()
        self._lock = _thread.RLock()
        self._ended = False
        self._wants_service = server._wants_service()
        self._poll_interval = poll_interval
        self._listener: Any = None
        self._listener_fd = -1
        self._acceptable = False
        # Whether clients were left without room.
        self._were_waiting = False
        #: Whether shutdown() was called.
        self.stopping = False
        self._back_off = 0.0
        self._timers: list[Any] = []
        self._again = self._new_timer(0)

    def _new_timer(self, *times: float) -> Any:
        timer = self.sleeper.loop.timer(*times)
        self._timers.append(timer)
        return timer

    def client_silent(self, client: Client) -> None:
        """In the hub: a parked client's timeout is over; its handler's finish() is a turn too."""
        self.server._counters.timeouts += 1
        _log.debug("%s said nothing for its timeout", client.address)
        self.lot.make_ready(client)

    def do_soon(self, errand: Callable[[], Any]) -> bool:
        """Have `errand` called by the serving greenlet, from any thread; False if it has ended."""
        with self._lock:
            if self._ended:
                return False
            self._errands.append(errand)
        self.sleeper.ring_soon()
        return True

    def run(self) -> None:
        """Serve until the server is asked to stop."""
        server = self.server
        with contextlib.ExitStack() as stack:
            stack.callback(self._close)
            listener = getattr(server, "socket", None)
            if hasattr(listener, "accept") and server._is_stream():
                stack.enter_context(non_blocking(listener))
                if getattr(server, "tcp_nodelay", False):
                    switch_nagle_off(listener)
            if not hasattr(server, "fileno"):
                self._run_without_descriptor()
                return
            if self._wants_service:
                pulse = self._new_timer(self._poll_interval, self._poll_interval)
                pulse.start(self.sleeper.ring)
            self._watch_listener()
            while not server._stopping:
                self.sleeper.sleep()
                if server._stopping:
                    break
                self._work()

    def _work(self) -> None:
        while self._errands:
            self._errands.popleft()()
        if self.returned or self.lot.forsaken:
            self.take_back()
        if self._acceptable:
            self._accept()
            if self.stopping:
                return
        if self.ready or self._were_waiting:
            self._begin_turns()
        if self._wants_service:
            self.server.service_actions()

    def take_back(self) -> None:
        """Settle the turns that ended in other threads."""
        while self.returned:
            client, outcome = self.returned.popleft()
            self.settle(client, outcome)
        while self.lot.forsaken:
            self._close_forsaken(self.lot.forsaken.popleft())

    def _close_forsaken(self, request: Any) -> None:
        client = self.lot.clients.get(request)
        if client is None or client.state is not PARKED:
            request._real_close()
        else:
            self.lot.end_soon(client)

    def settle(self, client: Client, outcome: Outcome) -> None:
        """Do what the end of a turn asks for."""
        if outcome is Outcome.PARK and self.server._is_closed:
            self.server._close_client(client)
        elif outcome is Outcome.PARK:
            self.lot.park(client)
        elif outcome is Outcome.GO_ON:
            self.ready.append(client)
        elif self.lot.holds(client):
            self.lot.discard(client)

    def _begin_turns(self) -> None:
        server = self.server
        for _ in range(len(self.ready)):
            if not self.ready or not server._has_room() or server._stopping:
                break
            server._begin_turn(self.ready.popleft())
        self._were_waiting = bool(self.ready) and not server._has_room()
        server._note_waiting(self._were_waiting)
        if self.ready and not self._were_waiting:
            # Those who have more to say go on after the loop has looked at all descriptors.
            self._again.start(self.sleeper.ring)

    def _watch_listener(self) -> None:
        fd = self.server.fileno()
        if fd < 0:
            return
        self._listener_fd = fd
        self._listener = new_watcher(fd, READ)
        self._listener.start(self._on_acceptable)

    def _on_acceptable(self) -> None:
        # Level-triggered: while a hook blocks the serving greenlet, an active watcher would fire
        # at every turn of the loop.
        self._listener.stop()
        self._acceptable = True
        self.sleeper.ring()

    def stop_listening(self) -> None:
        """Close the listener's watcher, so that the listener may be closed. Idempotent."""
        watcher, self._listener = self._listener, None
        self._acceptable = False
        if watcher is not None:
            watcher.stop()
            watcher.close()

    def _accept(self) -> None:
        self._acceptable = False
        server = self.server
        for _ in range(server._accept_batch()):
            error = server._accept_one()
            if self.stopping or self._listener is None or error is AcceptError.NOTHING_WAITS:
                break
            if error is None and not self._back_off:
                continue
            if error is AcceptError.LISTENER_LOST:
                self.stop_listening()
                return
            if error is AcceptError.EXHAUSTED:
                self._pause_listening()
                return
            if error is None:
                self._back_off = 0.0
                _log.info("accepting again")
        if self._listener is not None:
            self._listener.start(self._on_acceptable)

    def _pause_listening(self) -> None:
        if not self._back_off:
            self._back_off = _FIRST_BACK_OFF
            _log.warning(
                "out of open files or memory: not accepting until some are free "
                "(trying again in 0.01 s, then less often, at least once a second)"
            )
        else:
            self._back_off = min(self._back_off * 2, _LAST_BACK_OFF)
        timer = self._new_timer(self._back_off)

        def resume() -> None:
            timer.close()
            self._timers.remove(timer)
            if self._listener is not None:
                self._listener.start(self._on_acceptable)

        timer.start(resume)

    def _run_without_descriptor(self) -> None:
        """Serve requests that come from no descriptor: get_request itself waits for the next one.

        An OSError of its says that there is none: it is asked again after `poll_interval`.
        """
        server = self.server
        pulse = self._new_timer(self._poll_interval, self._poll_interval)
        pulse.start(self.sleeper.ring)
        while not server._stopping:
            if server._accept_one() is not None:
                self.sleeper.sleep()
            self._begin_turns()
            server.service_actions()

    def _close(self) -> None:
        self.stop_listening()
        for timer in self._timers:
            timer.stop()
            timer.close()
        with self._lock:
            self._ended = True
        while self._errands:
            self._errands.popleft()()
        self.sleeper.close()
