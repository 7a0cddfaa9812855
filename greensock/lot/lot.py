"""The lot: the table of a server's clients, of whom the parked are waited for in one set.

The lot is the server's, and a run of `serve_forever` borrows it. Only the serving thread touches
it, or any where nobody serves, except for `forsake` and `forget` (see there).
"""

from __future__ import annotations

from _socket import socket as c_socket
from collections import deque
from collections.abc import Callable
from contextvars import Context
from typing import Any

from greensock.hub.waiting import READ, is_hub_here, this_hub
from greensock.lot.client import BUSY, ENDING, GONE, PARKED, Client
from greensock.lot.descriptors import ClientDescriptors
from greensock.lot.ready import ARMED, MUTED, UNKNOWN, ReadyQueue, ReadySet, queue_of_nobody
from greensock.lot.silences import Silence, drop_empty, rounded
from greensock.lot.table import ClientTable
from greensock.noted import option_limits, strays
from greensock.noted.option_limits import limits

# How many timeouts are kept to the millisecond. Handlers that draw theirs at random would otherwise
# have a list and a timer for each client. Arbitrary: far above what one program's handlers use, far
# below what costs memory.
_MAX_EXACT = 64

_number_of: Callable[[Any], int] = c_socket.fileno

# Those of the servers that have clients, or serve. A request does not say which of them it is in:
# that would cost each idle client of a thread or child 16 bytes.
_lots: list[Lot] = []


def may_be_closed(request: Any) -> bool:
    """Say whether a request may be closed at once by whoever wants it closed; see `Lot.forsake`."""
    if strays.watched:
        strays.closed(request)
    number = _number_of(request)
    for lot in tuple(_lots):
        # As `ClientTable.get`, without its call: every request is closed by this.
        by_number = lot.clients.by_number
        client = by_number[number] if 0 <= number < len(by_number) else None
        if client is not None and client.request is request and not lot.forsake(client):
            return False
    return True


def leave_to_parent() -> None:
    """In a child: no lot has any client here, and no set is touched."""
    _lots.clear()


def heed_limits() -> None:
    """A client may have a limit as a socket option from now on: have the lots ask for such."""
    for lot in tuple(_lots):
        if type(lot) is Lot:
            lot.__class__ = LimitedLot


class Lot:
    """The clients of one server, for its life.

    Args:
        told_once: whether turns run in other threads or processes than the hub's.
    """

    def __init__(self, told_once: bool) -> None:
        self._told_once = told_once
        #: Once it has been served from.
        self._set: ReadySet | None = None
        self._hub: Any = None
        self.ready, self.schedule, self._dispatch = queue_of_nobody()
        #: Those whose silence is bounded while they are parked, by their timeout. A client does not
        #: say which of these it is in: that would cost each idle one 16 bytes.
        self.silences: dict[float, Silence] = {}
        self._most_silences = _MAX_EXACT
        #: Every client admitted and not yet forgotten, parked or busy.
        self.clients = ClientTable()
        #: Called with the request and address of each client who is forgotten, where anybody waits
        #: for one to go.
        self.on_gone: Callable[[Any, Any], None] | None = None
        #: What clients keep in context variables, of those who do: see `lot.contexts`.
        self.contexts: dict[Client, Context] = {}
        #: The descriptors of `clients`, where children are forked.
        self.descriptors: ClientDescriptors | None = None
        #: Requests that another thread wants closed; the serving greenlet does it.
        self.forsaken: deque[Any] = deque()

    def attach(
        self,
        queue: ReadyQueue,
        on_silent: Callable[[Client], None],
        wake: Callable[[], None],
    ) -> None:
        """Serve from this thread's hub, until `detach`.

        Those who have waited since the last run, and have said something, are ready.

        Args:
            queue: where a parked client is put, unparked, once it has bytes, an end or an error to
                read; who has had them first comes first.
            on_silent: called in the hub for a client that said nothing for its request's timeout.
            wake: wakes the serving greenlet, from any thread.
        """
        self._hub = this_hub()
        self.ready, self.schedule, self._dispatch = queue
        self._on_silent, self._wake = on_silent, wake
        if self not in _lots:
            _lots.append(self)
        if limits:
            heed_limits()
        if self._set is None:
            self._set = ReadySet(self._told_once)
        self._set.watch(self._look)
        for client in self.clients.values():
            if client.lot is self:
                self.look_at(client)

    def look_at(self, client: Client) -> None:
        """Of a client who was parked, or ended, while nobody served: go on with it."""
        if client.state is ENDING:
            self.make_ready(client)
        elif client.state is PARKED:
            if client.request.unread:
                self.unpark(client)
                self.make_ready(client)
            else:
                self.park(client)

    def detach(self) -> None:
        """Serve no more: who waits for its turn is parked, who has it has it away from here.

        It comes back by `take_back`. Nothing, if no run has it.
        """
        if self._hub is None or self._set is None:
            return
        self._set.unwatch()
        self._hub = self.on_gone = None
        for silence in self.silences.values():
            silence.close()
        self.silences.clear()
        waiting = [each for each in self.ready if isinstance(each, Client) and self.holds(each)]
        for client in waiting:
            self.ready.remove(client)
            if client.state is BUSY:
                self._put_back(client)
        self.ready, self.schedule, self._dispatch = queue_of_nobody()
        here = set(waiting)
        for client in self.clients.values():
            if client.state is not PARKED and client not in here:
                client.lot = None
        self._may_be_forgotten()

    def _may_be_forgotten(self) -> None:
        if self._hub is None and not self.clients and self in _lots:
            _lots.remove(self)

    def take_back(self, client: Client) -> bool:
        """A client whose turn has outlived its run is here again; False if it is another's."""
        if client.lot is not None or self.clients.get(client.request) is not client:
            return False
        client.lot = self
        return True

    def leave_to_parent(self, kept: list[Client], serves_on: bool) -> object:
        """In a child of the program's: the set is the parent's, as are the clients, but for `kept`.

        What another thread's hub watches is not touched: it is returned, to be kept as it is. Its
        loop is not here, and under libuv shares its own set with the parent's, who would go deaf.

        Args:
            serves_on: whether the run that has borrowed the lot goes on here.
        """
        self.clients.clear()
        self.forsaken.clear()
        for client in kept:
            client.watch = UNKNOWN
            self.clients.add(client)
        left, self._set = (self._set, self.silences), None
        if self._hub is None or is_hub_here(self._hub):
            for silence in self.silences.values():
                silence.close()
            if left[0] is not None:
                left[0].close()
        self.silences = {}
        if serves_on:
            self._set = ReadySet(self._told_once)
            self._set.watch(self._look)
        else:
            self._hub = None
            self.ready, self.schedule, self._dispatch = queue_of_nobody()
            self._may_be_forgotten()
        return left

    def close(self) -> None:
        """Nobody serves, or will soon: let go of the set; the next run makes another."""
        if self._hub is None and self._set is not None:
            self._set.close()
            self._set = None
            for client in self.clients.values():
                client.watch = UNKNOWN

    def admit(self, client: Client) -> None:
        """Take `client` into the table; it is not parked yet."""
        if self.clients.add(client) and self._set is not None:
            # The kernel may know it still, open elsewhere, and would tell of this one in its place.
            self._set.renew(self.clients.numbered())
        client.lot = self
        if self.descriptors is not None:
            self.descriptors.add(client.request)

    def holds(self, client: Client) -> bool:
        """Whether `client` was admitted, and not forgotten since."""
        return client.lot is self

    def _look(self) -> None:
        """In the hub: the set has found somebody ready."""
        self._take_ready(self._dispatch)

    def take_ready(self) -> None:
        """Queue those who are ready by now, without waiting for the hub to look."""
        self._take_ready(self.schedule)

    def _take_ready(self, tell: Callable[[], None]) -> None:
        found, by_number, ready = self._set, self.clients.by_number, self.ready
        if found is None:
            # A signal has ended the run since this was called.
            return
        told_once, woken = self._told_once, []
        for number, _ in found.poll(0):
            client = by_number[number] if number < len(by_number) else None
            if client is None:
                found.drop(number, self.clients.numbered)
            elif client.state is PARKED:
                client.state = BUSY
                if told_once:
                    client.watch = MUTED
                if self.silences:
                    self.end_silence(client)
                woken.append(client)
            elif client.watch == ARMED:
                found.mute(client)
        if self.ready is not ready:
            # Likewise: what is in a queue of nobody's would wait for ever.
            for client in woken:
                self._put_back(client)
        elif woken:
            waited = bool(ready)
            ready.extend(woken)
            if not waited:
                tell()

    def _put_back(self, client: Client) -> None:
        """Park a client whose turn nobody will run, unless it is closed already."""
        if _number_of(client.request) < 0:
            self.forget(client)
        else:
            self.park(client)

    def park(self, client: Client) -> None:
        """Wait for `client` to be ready. Its read buffer must be empty, if anybody serves."""
        if client.watch != ARMED and self._set is not None:
            self._set.arm(client)
        client.state = PARKED
        if client.request.timeout is not None and self._hub is not None:
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
            drop_empty(silences)
            # Not to be looked through at each parking.
            self._most_silences = max(_MAX_EXACT, 2 * len(silences))
        if len(silences) >= _MAX_EXACT:
            timeout = rounded(timeout)
            if timeout in silences:
                return silences[timeout]
        silence = silences[timeout] = Silence(timeout, self._on_expired)
        return silence

    def unpark(self, client: Client) -> None:
        """Wait for a parked client no longer; the caller goes on with it."""
        client.state = BUSY
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
        """Queue the end of a parked client, who is closed already or to be closed."""
        self.unpark(client)
        client.end_soon()
        self.make_ready(client)

    def make_ready(self, client: Client) -> None:
        """Queue a turn for `client`; in the serving thread only."""
        ready = self.ready
        if not ready:
            self.schedule()
        ready.append(client)

    def _on_expired(self, client: Client) -> None:
        self.unpark(client)
        client.end_soon()
        self._on_silent(client)

    def discard(self, client: Client) -> None:
        """Forget `client`: its request may be closed now."""
        self.let_go(client)
        client.state = GONE
        if self.on_gone is not None:
            self.on_gone(client.request, client.address)

    def forget(self, client: Client) -> None:
        """As `discard`, but nobody is told.

        Of a client who is not parked, any thread may do this.
        """
        self.let_go(client)
        client.state = GONE

    def let_go(self, client: Client) -> None:
        """Have a client no more, who goes on elsewhere."""
        if self.silences and client.state is PARKED:
            self.end_silence(client)
        if client.watch and self._set is not None:
            self._set.remove(client)
        client.lot = None
        self.clients.discard(client)
        if self.contexts:
            self.contexts.pop(client, None)
        if self.descriptors is not None:
            self.descriptors.discard(client.request)
        if self._hub is None:
            self._may_be_forgotten()

    def forsake(self, client: Client) -> bool:
        """Say whether a client's request may be closed at once, by whoever wants it closed.

        A parked client that another greenlet closes is ended like any other; one that another
        thread closes is left to the serving greenlet, which alone may end it.
        """
        if self.descriptors is not None:
            self.descriptors.discard(client.request)
        if client.state is PARKED:
            if self._hub is None:
                self.forget(client)
                return True
            if not is_hub_here(self._hub):
                self.forsaken.append(client.request)
                self._wake()
                return False
            self.end_soon(client)
        if client.watch and self._set is not None:
            self._set.remove(client)
        self.clients.note_closing(client)
        return True


class LimitedLot(Lot):
    """A lot where some clients have a time limit that is a socket option."""

    def park(self, client: Client) -> None:
        Lot.park(self, client)
        if client.request.timeout is None:
            self._bound_silence(client)

    def _limit_of(self, client: Client) -> float | None:
        timeout = Lot._limit_of(self, client)
        return option_limits.of_waiting(client.request, READ) if timeout is None else timeout
