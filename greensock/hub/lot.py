"""The lot: the table of parked clients, each of them one watcher and nothing else.

Only the serving thread touches the lot, except for `forsake` (see there). A parked client's watcher
is kept for as long as the client and merely re-started: libev then makes no system call, where a
new watcher a turn costs an epoll_ctl and an fcntl each.
"""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable, Iterable
from contextvars import Context
from enum import Enum, auto
from typing import Any, NamedTuple

from greensock.hub import option_limits, strays
from greensock.hub.client_descriptors import ClientDescriptors
from greensock.hub.lifetime import is_hub
from greensock.hub.option_limits import limits
from greensock.hub.silences import Silence, rounded
from greensock.hub.waiting import READ, calls_back_last_first, this_hub

# How many timeouts are kept to the millisecond. Handlers that draw theirs at random would otherwise
# have a list and a timer for each client. Arbitrary: far above what one program's handlers use, far
# below what costs memory.
_MAX_EXACT = 64


class State(Enum):
    """What is going on for a client."""

    #: A turn of its is wanted, queued or running.
    BUSY = auto()
    #: The lot holds it, and nothing else does.
    PARKED = auto()
    #: Its next turn is its last, in which nothing is read any more.
    ENDING = auto()
    #: Its handler runs, or will run, as a whole: it is none of the lot's.
    DEDICATED = auto()


BUSY, PARKED, ENDING = State.BUSY, State.PARKED, State.ENDING
DEDICATED = State.DEDICATED


class Client:
    """One open request and all that the server keeps for it.

    An idle client is this object, its request, its handler and one watcher: every attribute here
    is paid for by each of thousands of idle clients.
    """

    __slots__ = ("address", "handler", "lot", "request", "state", "watcher")

    def __init__(self, request: Any, address: Any) -> None:
        self.request = request
        self.address = address
        #: The request-wise handler between its turns; None before the first turn, and always None
        #: for a handler with a handle() of its own.
        self.handler: Any = None
        #: The lot's watcher of the request, or None where it was never parked.
        self.watcher: Any = None
        self.state = BUSY
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
            if lot.silences:
                lot.end_silence(self)
            woken = lot.woken
            if not woken:
                lot.hand_over_soon()
            woken.append(self)
        elif self.watcher is not None:
            # Its turn has run out of this loop iteration, blocked on something else, while more
            # bytes came. Stopping only then spares every short turn a stop and a start.
            self.watcher.stop()


# Those of the servers that serve now. A request does not say which of them it is in: that would
# cost each idle client of a thread or child 16 bytes.
_lots: list[Lot] = []


def may_be_closed(request: Any) -> bool:
    """Say whether a request may be closed at once by whoever wants it closed; see `Lot.forsake`."""
    if strays.watched:
        strays.closed(request)
    for lot in tuple(_lots):  # noqa: SIM110 - a generator would cost each close 0.3 us
        if request in lot.clients and not lot.forsake(request):
            return False
    return True


def keep(lots: Iterable[Lot]) -> None:
    """In a child: these alone have clients here."""
    _lots[:] = lots


def leave_to_parent() -> None:
    """In a child: no lot has any client here."""
    _lots.clear()


def heed_limits() -> None:
    """A client may have a limit as a socket option from now on: have the lots ask for such."""
    for lot in tuple(_lots):
        if type(lot) is Lot:
            lot.__class__ = LimitedLot


class ReadyQueue(NamedTuple):
    """Where a lot puts the clients who are to have a turn.

    `clients`: the queue. `schedule`: called when one is put into it while it is empty. `dispatch`:
    the same, but called in the hub, and once no more are about to come. Neither may block or raise.
    """

    clients: deque[Any]
    schedule: Callable[[], None]
    dispatch: Callable[[], None]


class Lot:
    """Clients under the care of one run of `serve_forever`, which ends with `suspend`.

    Args:
        queue: where a parked client is put, unparked, once it has bytes, an end or an error to
            read; who has had them first comes first.
        on_silent: called in the hub for a client that said nothing for its request's timeout.
        wake: wakes the serving greenlet, from any thread.
    """

    def __init__(
        self,
        queue: ReadyQueue,
        on_silent: Callable[[Client], None],
        wake: Callable[[], None],
    ) -> None:
        self._hub = this_hub()
        self._loop = self._hub.loop
        self.ready, self.schedule, self._dispatch = queue
        #: Clients who are found ready in this turn of the loop, in the order of its calls.
        self.woken: list[Client] = []
        self._last_first = calls_back_last_first(self._loop)
        #: Has the woken put into `ready` at the end of this turn of the loop.
        self.hand_over_soon = functools.partial(self._loop.run_callback, self._hand_over)
        self._on_silent = on_silent
        self._wake = wake
        #: Those whose silence is bounded while they are parked, by their timeout. A client does not
        #: say which of these it is in: that would cost each idle one 16 bytes.
        self.silences: dict[float, Silence] = {}
        self._most_silences = _MAX_EXACT
        #: Every client admitted and not yet discarded, parked or busy, by its request.
        self.clients: dict[Any, Client] = {}
        #: Called with the request and address of each client who is forgotten, where anybody waits
        #: for one to go.
        self.on_gone: Callable[[Any, Any], None] | None = None
        #: What clients keep in context variables, of those who do: see `client_contexts`.
        self.contexts: dict[Client, Context] = {}
        #: The descriptors of `clients`, where children are forked.
        self.descriptors: ClientDescriptors | None = None
        #: Requests that another thread wants closed; the serving greenlet does it.
        self.forsaken: deque[Any] = deque()
        _lots.append(self)
        if limits:
            heed_limits()

    def admit(self, client: Client) -> None:
        """Take `client` into the table; it is not parked yet."""
        self.clients[client.request] = client
        client.lot = self
        if self.descriptors is not None:
            self.descriptors.add(client.request)

    def holds(self, client: Client) -> bool:
        """Whether `client` was admitted, and not discarded since."""
        return client.lot is self

    def park(self, client: Client) -> None:
        """Watch `client` until it is ready. Its read buffer must be empty."""
        watcher = client.watcher
        if watcher is None:
            watcher = client.watcher = client.request.read_watcher()
        client.state = PARKED
        if not watcher.active:
            watcher.start(client)
        if client.request.timeout is not None:
            self._bound_silence(client)

    def _bound_silence(self, client: Client) -> None:
        limit = self._limit_of(client)
        if limit is not None:
            self._silence(limit).add(client)

    def _limit_of(self, client: Client) -> float | None:
        """For how many seconds a client may be silent; None: for ever."""
        timeout: float | None = client.request.timeout
        return timeout

    def _silence(self, timeout: float) -> Silence:
        return self.silences.get(timeout) or self._another_silence(timeout)

    def _another_silence(self, timeout: float) -> Silence:
        silences = self.silences
        if len(silences) >= self._most_silences:
            self._drop_empty_silences()
        if len(silences) >= _MAX_EXACT:
            timeout = rounded(timeout)
            if timeout in silences:
                return silences[timeout]
        silence = silences[timeout] = Silence(timeout, self._on_expired)
        return silence

    def _drop_empty_silences(self) -> None:
        for timeout, silence in list(self.silences.items()):
            if silence.is_empty():
                silence.close()
                del self.silences[timeout]
        # Not to be looked through at each parking.
        self._most_silences = max(_MAX_EXACT, 2 * len(self.silences))

    def unpark(self, client: Client) -> None:
        """Stop watching a parked client; the caller goes on with it."""
        client.state = BUSY
        client.watcher.stop()
        if self.silences:
            self.end_silence(client)

    def end_silence(self, client: Client) -> None:
        """A client, who may be parked no more, can be as silent as it likes."""
        limit = self._limit_of(client)
        if limit is not None:
            for likely in (limit, rounded(limit)):
                silence = self.silences.get(likely)
                if silence is not None and client in silence:
                    silence.discard(client)
                    return
        # It was set since the client was parked.
        for silence in self.silences.values():
            if client in silence:
                silence.discard(client)
                return

    def end_soon(self, client: Client) -> None:
        """Queue the last turn of a parked client, who is closed already or to be closed."""
        self.unwatch(client)
        client.state = ENDING
        self.make_ready(client)

    def hand_over_now(self) -> None:
        """As `hand_over_soon` does, but at once; in the serving thread only."""
        if self.woken:
            dispatch, self._dispatch = self._dispatch, self.schedule
            self._hand_over()
            self._dispatch = dispatch

    def _hand_over(self) -> None:
        """Put the woken into `ready`, in the order in which the kernel found them readable."""
        woken, ready = self.woken, self.ready
        if len(woken) > 1 and self._last_first:
            woken.reverse()
        if ready:
            ready.extend(woken)
            woken.clear()
        elif woken:
            ready.extend(woken)
            woken.clear()
            self._dispatch()

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
        self.forget(client)
        if self.on_gone is not None:
            self.on_gone(client.request, client.address)

    def forget(self, client: Client) -> None:
        """As `discard`, but nobody is told.

        Of a client without a watcher, any thread may do this.
        """
        if client.watcher is not None:
            self.unwatch(client)
        client.lot = None
        self.clients.pop(client.request, None)
        if self.contexts:
            self.contexts.pop(client, None)
        if self.descriptors is not None:
            self.descriptors.discard(client.request)

    def forsake(self, request: Any) -> bool:
        """Say whether a request that somebody closes may be closed at once, by whoever asked.

        Closing a descriptor behind an active watcher lets the next connection, which gets the same
        number, wake the old client (libev) or never wake at all (libuv). So a parked client that
        another greenlet closes is unparked first and then ends like any other; one that another
        thread closes is left to the serving greenlet, which alone may stop its watcher.
        """
        if self.descriptors is not None:
            self.descriptors.discard(request)
        client = self.clients.get(request)
        if client is None or client.state is not PARKED:
            return True
        if not is_hub(self._hub):
            self.forsaken.append(request)
            self._wake()
            return False
        self.end_soon(client)
        return True

    def suspend(self) -> list[Client]:
        """Let go of every client, because this hub serves no longer; return them."""
        _lots.remove(self)
        clients = list(self.clients.values())
        for client in clients:
            if client.state is PARKED:
                self._drop_watcher(client)
            else:
                # Its handler may be waiting on that very watcher, for the rest of a request.
                watcher, client.watcher = client.watcher, None
                if watcher is not None and watcher.callback is client:
                    watcher.stop()
            client.lot = None
        for silence in self.silences.values():
            silence.close()
        self.silences.clear()
        self.clients.clear()
        return clients


class LimitedLot(Lot):
    """A lot where some clients have a time limit that is a socket option."""

    def park(self, client: Client) -> None:
        Lot.park(self, client)
        if client.request.timeout is None:
            self._bound_silence(client)

    def _limit_of(self, client: Client) -> float | None:
        timeout = Lot._limit_of(self, client)
        return option_limits.of_waiting(client.request, READ) if timeout is None else timeout
