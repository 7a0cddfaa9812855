"""The lot under any interleaving of what may happen to its clients, with real sockets and timers.

A model keeps what each client must be: watched, waiting for its turn, at its turn, or gone.
"""

import contextlib
import socket
from collections import deque
from typing import Any

import gevent
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from greensock.hub.lot import BUSY, ENDING, PARKED, Client, ReadyQueue
from greensock.hub.timed_lot import TimedLot
from greensock.net.cooperative_sockets import CooperativeSocket

from ..clients import eventually

pick = st.integers(min_value=0, max_value=1000)


class LotMachine(RuleBasedStateMachine):
    """Serves by hand: hands `ready` out one turn at a time, as a server without a mixin does."""

    def __init__(self) -> None:
        super().__init__()
        self.ready: deque[Client] = deque()
        self.lot = self.new_lot()
        self.lot.begin(None, lambda request: None)
        self.ends: dict[Client, socket.socket] = {}
        self.sent: dict[Client, int] = {}
        self.served: dict[Client, int] = {}
        self.at_turn: Client | None = None
        self.admitted = self.gone = self.timed_out = 0

    def new_lot(self) -> TimedLot:
        lot = TimedLot(
            ReadyQueue(self.ready, self.note_ready, lambda: None), self.silent, lambda: None
        )
        lot.on_gone = self.note_gone
        return lot

    def note_ready(self) -> None:
        assert not self.ready

    def note_gone(self, request: Any, address: Any) -> None:
        self.gone += 1

    def silent(self, client: Client) -> None:
        self.timed_out += 1
        self.lot.make_ready(client)

    def any_of(self, number: int, state: Any = None) -> Client | None:
        clients = [
            client
            for client in self.lot.clients.values()
            if client is not self.at_turn and (state is None or client.state is state)
        ]
        return clients[number % len(clients)] if clients else None

    @rule(timeout=st.sampled_from([None, 0.001, 60]))
    def connect(self, timeout: float | None) -> None:
        ours, theirs = socket.socketpair()
        request = CooperativeSocket(fileno=ours.detach())
        request.settimeout(timeout)
        client = Client(request, self.admitted)
        self.ends[client] = theirs
        self.sent[client] = self.served[client] = 0
        self.admitted += 1
        self.lot.admit(client)
        self.lot.park(client)

    @rule(number=pick)
    def send(self, number: int) -> None:
        client = self.any_of(number)
        if client is not None:
            with contextlib.suppress(OSError):
                self.ends[client].send(b"x")
                self.sent[client] += 1

    @rule(number=pick)
    def hang_up(self, number: int) -> None:
        client = self.any_of(number)
        if client is not None:
            self.ends[client].close()

    @rule(number=pick)
    def push(self, number: int) -> None:
        client = self.any_of(number, PARKED)
        if client is not None:
            with contextlib.suppress(ConnectionError):
                client.request.send(b"news")

    @rule()
    def pass_time(self) -> None:
        gevent.sleep(0.002)

    @precondition(lambda self: self.ready and self.at_turn is None)
    @rule(blocks=st.booleans())
    def begin_turn(self, blocks: bool) -> None:
        self.at_turn = self.ready.popleft()
        assert self.at_turn.state in (BUSY, ENDING), "served twice at once, or after its end"
        if blocks:
            gevent.sleep(0)

    @precondition(lambda self: self.at_turn is not None)
    @rule(keep=st.booleans())
    def end_turn(self, keep: bool) -> None:
        client, self.at_turn = self.at_turn, None
        assert client is not None
        data = b""
        if client.state is not ENDING and not client.request._closed:
            with contextlib.suppress(BlockingIOError, ConnectionError):
                data = client.request.recv(4096, socket.MSG_DONTWAIT)
        self.served[client] += len(data)
        if keep and data:
            self.lot.park(client)
        else:
            self.end(client)

    def end(self, client: Client) -> None:
        if self.lot.holds(client):
            self.lot.discard(client)
        client.request.close()
        self.ends[client].close()

    @rule(number=pick)
    def close_from_outside(self, number: int) -> None:
        """Another greenlet closes a parked client."""
        client = self.any_of(number, PARKED)
        if client is not None:
            client.request.close()
            assert client.state is ENDING

    @rule()
    def evict(self) -> None:
        client = self.lot.longest_parked()
        assert (client is None) == (self.any_of(0, PARKED) is None)
        if client is not None:
            self.lot.end_soon(client)

    @rule(seconds=st.sampled_from([None, 0.001, 60]))
    def set_idle_timeout(self, seconds: float | None) -> None:
        self.lot.begin(seconds, lambda request: None)

    @precondition(lambda self: self.at_turn is None)
    @rule()
    def serve_again(self) -> None:
        """The server is shut down, and serves again."""
        waiting = set(self.ready)
        self.ready.clear()
        idle_timeout = self.lot.idle_timeout
        clients = self.lot.suspend()
        self.lot = self.new_lot()
        for client in clients:
            assert client.watcher is None
            if client.request._closed:
                self.gone += 1
                self.ends[client].close()
                continue
            self.lot.admit(client)
            if client in waiting:
                self.ready.append(client)
            else:
                self.lot.park(client)
        self.lot.begin(idle_timeout, lambda request: None)

    @invariant()
    def each_client_is_in_one_place(self) -> None:
        waiting = [*self.ready, *self.lot.woken]
        assert len(set(waiting)) == len(waiting), "queued twice"
        for client in self.lot.clients.values():
            if client.state is PARKED:
                assert client not in waiting
                assert client is not self.at_turn
                assert client.watcher.active, "parked, and forgotten"
                assert self.is_bounded(client)
            else:
                assert client in waiting or client is self.at_turn, "neither parked nor queued"
                assert not self.is_bounded(client)

    def is_bounded(self, client: Client) -> bool:
        """Whether its silence is."""
        listed = [silence for silence in self.lot.silences.values() if client in silence]
        assert len(listed) < 2, "bounded twice"
        return bool(listed)

    @invariant()
    def counters_add_up(self) -> None:
        assert self.admitted == self.gone + len(self.lot.clients)
        assert all(self.served[client] <= self.sent[client] for client in self.served)

    def teardown(self) -> None:
        if self.at_turn is not None:
            self.end_turn(keep=True)
        # Everything that was sent to a client who is still there reaches its turn.
        for client in self.lot.clients.values():
            self.ends[client].close()
        while self.lot.clients:
            eventually(self.turn_of_the_loop)
            self.begin_turn(blocks=False)
            self.end_turn(keep=True)
        self.lot.suspend()
        assert self.admitted == self.gone
        assert not self.ready
        for client, end in self.ends.items():
            end.close()
            assert client.request.fileno() < 0
            assert client.watcher is None

    def turn_of_the_loop(self) -> bool:
        gevent.sleep(0)
        return bool(self.ready)


TestLot = LotMachine.TestCase
TestLot.settings = settings(
    max_examples=30,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
