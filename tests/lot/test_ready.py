"""The set that tells who is ready: descriptors closed behind it, open elsewhere, used again."""

import contextlib
import gc
import os
import socket
import threading
import weakref
from collections import deque
from collections.abc import Iterator
from typing import Any

import gevent
import pytest

from greensock.lot.client import PARKED, Client
from greensock.lot.lot import Lot
from greensock.lot.ready import ReadyQueue
from greensock.sockets.cooperative import CooperativeSocket
from greensock.testing import running

from ..clients import ask, connect, eventually
from ..separate_process import HERE, LIBUV
from ..server_kinds import Echo, make_server, under_every_mixin

pytest_plugins = ["tests.alone"]

both_loops = pytest.mark.parametrize("mode", [HERE, LIBUV])


@contextlib.contextmanager
def attached(told_once: bool = False) -> Iterator[Lot]:
    lot = Lot(told_once)
    lot.attach(ReadyQueue(deque(), lambda: None, lambda: None), lambda client: None, lambda: None)
    try:
        yield lot
    finally:
        for client in lot.clients.values():
            lot.forget(client)
            client.request.close()
        lot.detach()
        lot.close()


def parked(lot: Lot) -> tuple[Client, socket.socket]:
    """A client in the lot, and its own end."""
    ours, theirs = socket.socketpair()
    client = Client(CooperativeSocket(fileno=ours.detach()), None)
    lot.admit(client)
    lot.park(client)
    return client, theirs


def looks(lot: Lot) -> list[Client]:
    """Who is found ready in some turns of the loop, each of them parked again, as after a turn
    that finds nothing.
    """
    found: list[Client] = []
    for _ in range(20):
        gevent.sleep(0.001)
        while lot.ready:
            client = lot.ready.popleft()
            found.append(client)
            client.request.receive_now(100)
            lot.park(client)
    return found


def use_a_number_again(told_once: bool) -> None:
    """Closed behind the request's back, and open elsewhere: the kernel still tells of it."""
    with attached(told_once) as lot:
        first, its_end = parked(lot)
        number = first.request.fileno()
        elsewhere = os.dup(number)
        os.closerange(number, number + 1)
        second, seconds_end = parked(lot)
        with its_end, seconds_end:
            assert second.request.fileno() == number
            its_end.send(b"x")
            assert looks(lot) == []
            seconds_end.send(b"x")
            assert looks(lot) == [second]
            # It names the second one's descriptor.
            first.request.detach()
            lot.forget(first)
        os.closerange(elsewhere, elsewhere + 1)


@both_loops
@pytest.mark.parametrize("told_once", [False, True])
def test_number_that_is_used_again_tells_of_its_new_owner(
    alone, mode: str, told_once: bool
) -> None:
    alone(mode, use_a_number_again, told_once)


def be_told_of_nobody() -> None:
    with attached() as lot:
        client, its_end = parked(lot)
        elsewhere = client.request.dup()
        other, others_end = parked(lot)
        # As if the table had never had it.
        lot.clients.by_number[client.request.fileno()] = None
        with its_end, others_end, elsewhere:
            its_end.send(b"x")
            assert looks(lot) == []
            others_end.send(b"x")
            assert looks(lot) == [other]
        client.request.close()


@both_loops
def test_descriptor_of_nobodys_is_dropped(alone, mode: str) -> None:
    alone(mode, be_told_of_nobody)


def speak_while_at_work(told_once: bool) -> None:
    """What comes between the end of reading and the parking is not lost."""
    with attached(told_once) as lot:
        client, its_end = parked(lot)
        with its_end:
            its_end.send(b"first")
            eventually(lambda: gevent.sleep(0.001) or lot.ready)
            lot.ready.clear()
            client.request.receive_now(100)
            its_end.send(b"second")
            gevent.sleep(0.01)
            assert not lot.ready
            lot.park(client)
            assert looks(lot) == [client]
            assert client.state is PARKED


@both_loops
@pytest.mark.parametrize("told_once", [False, True])
def test_bytes_that_come_amid_a_turn_are_told_of_after_it(
    alone, mode: str, told_once: bool
) -> None:
    alone(mode, speak_while_at_work, told_once)


def outlive_runs(mixin: str) -> None:
    """Who speaks between two runs is answered by the second."""
    server = make_server(mixin, Echo, linger=0)
    with contextlib.ExitStack() as stack:
        with running_once(server):
            client = stack.enter_context(connect(server.server_address))
            assert ask(client, b"x\n") == b"x\n"
            eventually(lambda: server.stats().parked == 1)
        client.sendall(b"between\n")
        with running(server):
            assert client.recv(100) == b"between\n"


@contextlib.contextmanager
def running_once(server: Any) -> Iterator[None]:
    """Serve for the length of a block, and leave the server open."""
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    eventually(lambda: server.stats().uptime)
    try:
        yield
    finally:
        server.shutdown()
        thread.join()


@both_loops
@under_every_mixin
def test_set_outlives_a_run(alone, mode: str, mixin: str) -> None:
    alone(mode, outlive_runs, mixin)


def keep_nothing_of_a_run() -> None:
    """A lot that has timed its clients for one run tells the next one's hooks, not the last's."""
    told: list[str] = []

    def on_connection(self: Any, state: str, request: Any, client_address: Any) -> None:
        told.append(state)

    server = make_server("greenlet", Echo, on_connection=on_connection, idle_timeout=60)
    client = None
    runs = []
    for _ in range(2):
        with running_once(server):
            runs.append(weakref.ref(server._greensock.run))
            client = client or connect(server.server_address)
            assert ask(client, b"x\n") == b"x\n"
            eventually(lambda: server.stats().parked == 1)
    # Who has spoken before it is accepted need not be parked first.
    assert told[-4:] == ["busy", "parked", "busy", "parked"]
    client.close()
    server.server_close()
    gc.collect()
    assert runs[0]() is None


def test_ended_run_is_forgotten(alone) -> None:
    alone(HERE, keep_nothing_of_a_run)


def test_who_is_to_be_ended_waits_for_the_next_run() -> None:
    """Also where that fails before it has borrowed the lot."""
    with attached() as lot:
        client, its_end = parked(lot)
        with its_end:
            lot.end_soon(client)
            lot.detach()
            lot.detach()
            queue: deque[Client] = deque()
            lot.attach(ReadyQueue(queue, lambda: None, lambda: None), lambda _: None, lambda: None)
            assert list(queue) == [client]
            queue.clear()
