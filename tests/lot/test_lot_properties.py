"""The lot under any interleaving of what may happen to its clients, with real sockets and timers.

A model keeps what each client must be: watched, waiting for its turn, at its turn, or gone. Each
step from one state to another must be in the table of steps.
"""

import contextlib
import socket
from collections import deque
from typing import Any

import gevent
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from greensock.lot.client import BUSY, ENDING, GONE, PARKED, STEPS, Client, State
from greensock.lot.ready import ARMED, ReadyQueue
from greensock.lot.timed_lot import TimedLot
from greensock.sockets.cooperative import CooperativeSocket

from ..clients import eventually

pick = st.integers(min_value=0, max_value=1000)


class CheckedClient(Client):
    """Takes no step that is not in the table."""

    __slots__ = ()

    @property
    def state(self) -> State:  # type: ignore[override]
        return Client.state.__get__(self)  # type: ignore[attr-defined, no-any-return]

    @state.setter
    def state(self, new: State) -> None:
        before = getattr(self, "state", new)
        assert new is before or new in STEPS[before], f"from {before} to {new}"
        Client.state.__set__(self, new)  # type: ignore[attr-defined]


class LotMachine(RuleBasedStateMachine):
    """Serves by hand: hands `ready` out one turn at a time, as a server without a mixin does."""

    told_once = False

    def __init__(self) -> None:
        super().__init__()
        self.ready: deque[Client] = deque()
        self.lot = TimedLot(self.told_once)
        self.attach()
        self.lot.begin(None, lambda request: None)
        self.ends: dict[Client, socket.socket] = {}
        self.sent: dict[Client, int] = {}
        self.served: dict[Client, int] = {}
        self.at_turn: Client | None = None
        self.admitted = self.gone = self.timed_out = 0

    def attach(self) -> None:
        queue = ReadyQueue(self.ready, self.note_ready, lambda: None)
        self.lot.attach(queue, self.silent, lambda: None)
        self.lot.on_gone = self.note_gone

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
        client = CheckedClient(request, self.admitted)
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

    @rule(sends=st.booleans())
    def serve_again(self, sends: bool) -> None:
        """The server is shut down and serves again; meanwhile somebody may speak or be at work."""
        idle_timeout = self.lot.idle_timeout
        self.lot.detach()
        assert not self.ready
        if sends:
            self.send(0)
        self.attach()
        if self.at_turn is not None:
            # Where its turn runs it was away.
            assert self.lot.take_back(self.at_turn) or self.lot.holds(self.at_turn)
        self.lot.begin(idle_timeout, lambda request: None)

    @invariant()
    def each_client_is_in_one_place(self) -> None:
        waiting = list(self.ready)
        assert len(set(waiting)) == len(waiting), "queued twice"
        for client in self.lot.clients.values():
            if client.state is PARKED:
                assert client not in waiting
                assert client is not self.at_turn
                assert client.watch == ARMED, "parked, and forgotten"
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
        self.lot.detach()
        self.lot.close()
        assert self.admitted == self.gone
        assert not self.ready
        for client, end in self.ends.items():
            end.close()
            assert client.request.fileno() < 0
            assert client.state is GONE

    def turn_of_the_loop(self) -> bool:
        gevent.sleep(0)
        return bool(self.ready)


class LotOfThreadsMachine(LotMachine):
    """As for a server whose turns run in threads or children."""

    told_once = True


TestLot = LotMachine.TestCase
TestLotOfThreads = LotOfThreadsMachine.TestCase
TestLot.settings = TestLotOfThreads.settings = settings(
    max_examples=30,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
