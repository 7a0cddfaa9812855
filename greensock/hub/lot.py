"""The lot: the table of parked clients, each of them one watcher and nothing else.

Only the serving thread touches the lot, except for `forsake` (see there). A parked client's watcher
is kept for as long as the client and merely re-started: libev then makes no system call, where a
new watcher a turn costs an epoll_ctl and an fcntl each.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import Enum, auto
from typing import Any

from gevent import get_hub
from gevent._hub_local import get_hub_if_exists

# Handlers that draw their timeouts at random would otherwise leave a timer for each value ever
# drawn. Arbitrary: far above what one program's handlers use, far below what costs memory.
_MAX_EMPTY_SILENCES = 64


class State(Enum):
    """What is going on for a client."""

    #: A turn of its is wanted, queued or running.
    BUSY = auto()
    #: The lot holds it, and nothing else does.
    PARKED = auto()
    #: Its handler is being set up here, but must not run here: it runs in a child.
    OPENING = auto()
    #: Its next turn is its last, in which nothing is read any more.
    ENDING = auto()


BUSY, PARKED, OPENING, ENDING = State.BUSY, State.PARKED, State.OPENING, State.ENDING


class Client:
    """One open request and all that the server keeps for it.

    An idle client is this object, its request, its handler and one watcher: every attribute here
    is paid for by each of thousands of idle clients.
    """

    __slots__ = ("address", "handler", "lot", "request", "silence", "state", "watcher")

    def __init__(self, request: Any, address: Any) -> None:
        self.request = request
        self.address = address
        #: The request-wise handler between its turns; None before the first turn, and always None
        #: for a handler with a handle() of its own.
        self.handler: Any = None
        #: The lot's watcher of the request, or None where it was never parked.
        self.watcher: Any = None
        self.state = BUSY
        #: What bounds its silence while it is parked, or None where nothing does.
        self.silence: Silence | None = None
        #: The lot that holds it, or None before and after.
        self.lot: Lot | None = None

    def __call__(self) -> None:
        """Called in the hub when the request is readable.

        The client is its watcher's callback itself: a method and a tuple of arguments would cost
        each idle client 48 bytes more.
        """
        lot = self.lot
        if self.state is PARKED and lot is not None:
            self.state = BUSY
            if self.silence is not None:
                self.silence.discard(self)
            ready = lot.ready
            if not ready:
                lot.schedule()
            ready.append(self)
        elif self.watcher is not None:
            # Its turn has run out of this loop iteration, blocked on something else, while more
            # bytes came. Stopping only then spares every short turn a stop and a start.
            self.watcher.stop()


class Silence:
    """The clients parked with one timeout, longest silent first, and one timer for all of them.

    All share the timeout, so the order of parking is the order of deadlines: nothing is searched
    or sorted. The timer is not re-armed at every parking (0.06 us each) but runs to the deadline of
    the client that was the longest silent when it was armed, and then looks again.
    """

    def __init__(self, timeout: float, on_expired: Callable[[Client], None]) -> None:
        self._timeout = timeout
        self._on_expired = on_expired
        self._deadlines: dict[Client, float] = {}
        self._loop = get_hub().loop
        self._timer = self._loop.timer(timeout, ref=False)

    def add(self, client: Client) -> None:
        client.silence = self
        self._deadlines[client] = self._loop.now() + self._timeout
        if not self._timer.active:
            self._arm(self._timeout)

    def discard(self, client: Client) -> None:
        client.silence = None
        del self._deadlines[client]

    def is_empty(self) -> bool:
        return not self._deadlines

    def close(self) -> None:
        self._timer.stop()
        self._timer.close()
        for client in self._deadlines:
            client.silence = None
        self._deadlines.clear()

    def _arm(self, delay: float) -> None:
        self._timer.close()
        self._timer = self._loop.timer(max(delay, 0.001), ref=False)
        self._timer.start(self._expire)

    def _expire(self) -> None:
        self._timer.stop()
        now = self._loop.now()
        while self._deadlines:
            client, deadline = next(iter(self._deadlines.items()))
            if deadline > now:
                self._arm(deadline - now)
                return
            self.discard(client)
            self._on_expired(client)


class Lot:
    """Clients under the care of one run of `serve_forever`.

    Args:
        ready: where a parked client is put, unparked, once it has bytes, an end or an error to
            read.
        schedule: called in the hub when a client is put into an empty `ready`; it must not block
            and must not raise.
        on_silent: called in the hub for a client that said nothing for its request's timeout.
        wake: wakes the serving greenlet, from any thread.
    """

    def __init__(
        self,
        ready: deque[Client],
        schedule: Callable[[], None],
        on_silent: Callable[[Client], None],
        wake: Callable[[], None],
    ) -> None:
        self._hub = get_hub()
        self._loop = self._hub.loop
        self.ready = ready
        self.schedule = schedule
        self._on_silent = on_silent
        self._wake = wake
        self._silences: dict[float, Silence] = {}
        # One bound method for all clients, where `self.forsake` would make one each: 64 bytes.
        self._close_gate = self.forsake
        #: Every client admitted and not yet discarded, parked or busy, by its request.
        self.clients: dict[Any, Client] = {}
        #: Requests that another thread wants closed; the serving greenlet does it.
        self.forsaken: deque[Any] = deque()

    def admit(self, client: Client) -> None:
        """Take `client` into the table; it is not parked yet."""
        self.clients[client.request] = client
        client.lot = self
        client.request.close_gate = self._close_gate

    def holds(self, client: Client) -> bool:
        """Whether `client` was admitted, and not discarded since."""
        try:
            return self.clients.get(client.request) is client
        except TypeError:  # a request that cannot be hashed was never admitted
            return False

    def park(self, client: Client) -> None:
        """Watch `client` until it is ready. Its read buffer must be empty."""
        watcher = client.watcher
        if watcher is None:
            watcher = client.watcher = client.request.read_watcher()
        client.state = PARKED
        if not watcher.active:
            watcher.start(client)
        timeout = client.request.timeout
        if timeout is not None:
            self._silence(timeout).add(client)

    def _silence(self, timeout: float) -> Silence:
        silence = self._silences.get(timeout)
        if silence is None:
            if len(self._silences) >= _MAX_EMPTY_SILENCES:
                self._drop_empty_silences()
            silence = self._silences[timeout] = Silence(timeout, self._on_expired)
        return silence

    def _drop_empty_silences(self) -> None:
        for timeout, silence in list(self._silences.items()):
            if silence.is_empty():
                silence.close()
                del self._silences[timeout]

    def unpark(self, client: Client) -> None:
        """Stop watching a parked client; the caller goes on with it."""
        client.state = BUSY
        client.watcher.stop()
        if client.silence is not None:
            client.silence.discard(client)

    def end_soon(self, client: Client) -> None:
        """Queue the last turn of a parked client, who is closed already or to be closed."""
        self.unwatch(client)
        client.state = ENDING
        self.make_ready(client)

    def make_ready(self, client: Client) -> None:
        """Queue a turn for `client`; in the serving thread only."""
        ready = self.ready
        if not ready:
            self.schedule()
        ready.append(client)

    def _on_expired(self, client: Client) -> None:
        self.unpark(client)
        client.state = ENDING
        self._on_silent(client)

    def unwatch(self, client: Client) -> None:
        """Give up the watcher of a client that a thread or child will read from, and may close."""
        if client.state is PARKED:
            self.unpark(client)
        self._drop_watcher(client)

    def _drop_watcher(self, client: Client) -> None:
        watcher, client.watcher = client.watcher, None
        if watcher is not None:
            watcher.stop()
            watcher.close()
            client.request.forget_read_watcher()

    def discard(self, client: Client) -> None:
        """Forget `client`: its watcher is closed, so its descriptor may be closed now."""
        self.unwatch(client)
        client.lot = None
        client.request.close_gate = None
        self.clients.pop(client.request, None)

    def forsake(self, request: Any) -> bool:
        """Say whether a request that somebody closes may be closed at once, by whoever asked.

        Closing a descriptor behind an active watcher lets the next connection, which gets the same
        number, wake the old client (libev) or never wake at all (libuv). So a parked client that
        another greenlet closes is unparked first and then ends like any other; one that another
        thread closes is left to the serving greenlet, which alone may stop its watcher.
        """
        client = self.clients.get(request)
        if client is None or client.state is not PARKED:
            return True
        if get_hub_if_exists() is not self._hub:
            self.forsaken.append(request)
            self._wake()
            return False
        self.end_soon(client)
        return True

    def suspend(self) -> list[Client]:
        """Let go of every client, because this hub serves no longer; return them."""
        clients = list(self.clients.values())
        for client in clients:
            if client.silence is not None:
                client.silence.discard(client)
            if client.state is PARKED:
                self._drop_watcher(client)
            else:
                # Its handler may be waiting on that very watcher, for the rest of a request.
                watcher, client.watcher = client.watcher, None
                if watcher is not None and watcher.callback is client:
                    watcher.stop()
            client.lot = None
            client.request.close_gate = None
        for silence in self._silences.values():
            silence.close()
        self._silences.clear()
        self.clients.clear()
        return clients
