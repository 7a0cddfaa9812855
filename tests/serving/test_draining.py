"""Stopping: nobody in the queue is reset, nothing answered is lost, and what is stuck is named."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from greensock import Drained
from greensock.mixins.forks import ForkRunner

from ..clients import (
    Client,
    ask,
    clients,
    connect,
    eventually,
    receive_all,
    receive_line,
    wait_until_parked,
)
from ..separate_process import HERE, LIBUV, PATCHED, UNPATCHED
from ..server_kinds import (
    CONCURRENT,
    FORKING,
    GREENLET,
    HANDLERS,
    MIXINS,
    NONE,
    THREADING,
    ClassicEcho,
    Echo,
    Holding,
    concurrent,
    in_each_process,
    make_server,
    patched_or_not,
    under_every_mixin,
)

pytest_plugins = ["tests.alone"]


@contextlib.contextmanager
def serving(server: Any) -> Iterator[threading.Thread]:
    """Serve in a thread that ends by a drain, or by this block's end."""
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    eventually(lambda: server.stats().uptime)
    try:
        yield thread
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Draining:
    """`drain()` in a thread of its own, begun when this returns."""

    def __init__(self, server: Any, timeout: float) -> None:
        self.report: Drained | None = None

        def drain() -> None:
            self.report = server.drain(timeout)

        self._thread = threading.Thread(target=drain)
        self._thread.start()
        eventually(lambda: server.draining)

    def end(self) -> Drained:
        self._thread.join()
        assert self.report is not None
        return self.report


def drain_parked(mixin: str) -> None:
    server = make_server(mixin, Echo, linger=0.001)
    with serving(server) as thread, clients(server.server_address, 5) as each:
        for client in each:
            assert ask(client, b"x\n") == b"x\n"
        wait_until_parked(server, 5)
        report = server.drain(20)
        thread.join()
        for client in each:
            assert receive_all(client) == b""
        assert report[:3] == (0, 5, ())
        with pytest.raises(ConnectionRefusedError):
            connect(server.server_address)
        assert server.stats().open == 0


@in_each_process
@under_every_mixin
def test_parked_clients_are_closed_at_once(alone, mode: str, mixin: str) -> None:
    alone(mode, drain_parked, mixin)


def drain_busy(mixin: str) -> None:
    server = make_server(mixin, Holding, linger=0.001)
    with serving(server) as thread, connect(server.server_address) as busy:
        with connect(server.server_address) as idle:
            assert ask(busy, b"x\n") == b"begun\n"
            draining = Draining(server, 20)
            assert receive_all(idle) == b""
            assert ask(busy, b"the end\n") == b"the end\n"
            assert receive_all(busy) == b""
        assert draining.end()[:3] == (1, 1, ())
        thread.join()


@in_each_process
@concurrent
def test_busy_handler_finishes_its_request(alone, mode: str, mixin: str) -> None:
    alone(mode, drain_busy, mixin)


class StuckInHandle(ClassicEcho):
    def handle(self) -> None:
        self.rfile.readline()
        self.wfile.write(b"begun\n")
        self.rfile.readline()


class Stuck(Echo):
    def handle_one_request(self) -> None:
        self.rfile.readline()
        self.wfile.write(b"begun\n")
        self.rfile.readline()


def drain_stuck(mixin: str, name: str) -> None:
    server = make_server(mixin, {"Stuck": Stuck, "StuckInHandle": StuckInHandle}[name])
    with serving(server) as thread, connect(server.server_address) as stuck:
        stuck.sendall(b"x\n")
        assert receive_line(stuck) == b"begun\n"
        report = server.drain(0.05)
        thread.join()
        with contextlib.suppress(ConnectionResetError):
            assert receive_all(stuck) == b""
        assert (report.finished, report.parked, len(report.cut)) == (0, 0, 1)
        cut = report.cut[0]
        assert cut.client_address == stuck.getsockname()
        assert cut.where.startswith("child ") if mixin == FORKING else f" in {name}." in cut.where
        # libuv counts in whole milliseconds.
        assert report.seconds > 0.045
        # A killed child may be dead only a moment after the loop has ended.
        server.server_close()
        eventually(lambda: server.stats().open == 0)


@under_every_mixin
@pytest.mark.parametrize(
    ("mode", "handler"),
    [(HERE, "Stuck"), (HERE, "StuckInHandle"), (PATCHED, "Stuck"), (LIBUV, "Stuck")],
)
@pytest.mark.expect_warnings("cut after .* s: ")
def test_what_is_stuck_is_cut_and_named(alone, mode: str, mixin: str, handler: str) -> None:
    alone(mode, drain_stuck, mixin, handler)


def drain_queue(mixin: str, handler: str) -> None:
    """Clients who wait in the kernel's queue, with their requests sent and without."""
    server = make_server(mixin, HANDLERS[handler], max_connections=None)
    server.pause()
    with serving(server), clients(server.server_address, 20) as each:
        for client in each[:10]:
            client.sendall(b"in the queue\n")
            client.shutdown(socket.SHUT_WR)
        draining = Draining(server, 20)
        for client in each[10:]:
            # Not before they are in: they have a moment to say what they came for.
            client.sendall(b"at last\n")
            client.shutdown(socket.SHUT_WR)
        for client in each[:10]:
            assert receive_all(client) == b"in the queue\n"
        for client in each[10:]:
            assert receive_all(client) == b"at last\n"
        assert draining.end()[:3] == (20, 0, ())


@patched_or_not
@pytest.mark.parametrize(
    ("mixin", "handler"),
    [*((mixin, "Echo") for mixin in MIXINS), *((mixin, "ClassicEcho") for mixin in CONCURRENT)],
)
def test_clients_in_the_queue_are_served(alone, mode: str, mixin: str, handler: str) -> None:
    alone(mode, drain_queue, mixin, handler)


class Large(Echo):
    """Answers with more than the kernel takes at once."""

    size = 3_000_000

    def handle_one_request(self) -> None:
        self.rfile.readline()
        self.wfile.write(b"begun\n")
        self.wfile.write(b"x" * self.size)


def read_slowly(client: Client) -> bytes:
    data = bytearray()
    while part := client.recv(100_000):
        data += part
        time.sleep(0.0005)
    return bytes(data)


def drain_slow_reader(mixin: str) -> None:
    server = make_server(mixin, Large, linger=0.001)
    with serving(server), connect(server.server_address) as slow:
        slow.sendall(b"x\n")
        assert receive_line(slow) == b"begun\n"
        draining = Draining(server, 20)
        assert len(read_slowly(slow)) == Large.size
        report = draining.end()
        # What the kernel's buffers have room for may be the rest: then it is parked already.
        assert (report.finished + report.parked, report.cut) == (1, ())


@patched_or_not
@under_every_mixin
def test_answer_that_is_under_way_arrives_whole(alone, mode: str, mixin: str) -> None:
    alone(mode, drain_slow_reader, mixin)


class Goodbye(Echo):
    said = "goodbye"


def on_drain_goodbye(self: Any, handler: Goodbye) -> None:
    handler.wfile.write(handler.said.encode() + b"\n")


def say_goodbye(mixin: str) -> None:
    server = make_server(mixin, Goodbye, linger=0.001, on_drain=on_drain_goodbye)
    with serving(server), clients(server.server_address, 3) as each:
        for client in each:
            assert ask(client, b"x\n") == b"x\n"
        wait_until_parked(server, 3)
        server.drain(20)
        for client in each:
            assert receive_all(client) == b"goodbye\n"


@patched_or_not
@under_every_mixin
def test_parked_clients_may_be_told_goodbye(alone, mode: str, mixin: str) -> None:
    alone(mode, say_goodbye, mixin)


def lingering(server: Any) -> int:
    """How many threads or children wait for their client's next request."""
    runner = server._greensock.runner
    if isinstance(runner, ForkRunner):
        turns = [turn.mark for turn in runner.turns.values()]
    else:
        turns = runner.turns_at_work()
    return sum(turn.silent_since > 0 for turn in turns)


def say_goodbye_to_who_is_waited_for(mixin: str, limit: int | None) -> None:
    """What they are waited for in is not what they know: they are as good as parked."""
    limits = {"max_children": limit, "max_threads": limit}
    # Without a limit nobody can send them away: the drain waits for that long.
    server = make_server(mixin, Goodbye, linger=3.0, on_drain=on_drain_goodbye, **limits)
    with serving(server), clients(server.server_address, 3) as each:
        for client in each * 2:
            # The first wait is shorter.
            assert ask(client, b"x\n") == b"x\n"
        eventually(lambda: lingering(server) == 3)
        assert server.drain(20)[:3] == (0, 3, ())
        for client in each:
            assert receive_all(client) == b"goodbye\n"


@pytest.mark.parametrize(
    ("mode", "mixin"),
    # Patched, threads are greenlets, and do not linger.
    [(HERE, THREADING), (LIBUV, THREADING), (HERE, FORKING), (PATCHED, FORKING), (LIBUV, FORKING)],
)
@pytest.mark.parametrize("limit", [None, 3])
def test_client_who_is_waited_for_is_told_goodbye(
    alone, mode: str, mixin: str, limit: int | None
) -> None:
    alone(mode, say_goodbye_to_who_is_waited_for, mixin, limit)


def ask_amid_the_drain(mixin: str) -> None:
    """Who was busy when it began has finished; nobody waits for another request of theirs."""
    server = make_server(mixin, Holding, linger=0.5, on_drain=on_drain_goodbye)
    with serving(server), connect(server.server_address) as client:
        assert ask(client, b"x\n") == b"begun\n"
        draining = Draining(server, 20)
        client.sendall(b"second\n")
        assert receive_all(client) == b"second\n"
        assert draining.end()[:3] == (1, 0, ())


@patched_or_not
@concurrent
def test_who_was_busy_has_finished(alone, mode: str, mixin: str) -> None:
    alone(mode, ask_amid_the_drain, mixin)


@pytest.mark.parametrize("mixin", [NONE, GREENLET, THREADING])
def test_goodbye_to_a_client_who_never_reads_holds_nobody_up(mixin: str) -> None:
    def on_drain(self: Any, handler: Echo) -> None:
        handler.wfile.write(b"x" * 10_000_000)

    server = make_server(mixin, Echo, linger=0.001, on_drain=on_drain)
    with serving(server), clients(server.server_address, 2) as each:
        for client in each:
            assert ask(client, b"x\n") == b"x\n"
        wait_until_parked(server, 2)
        assert server.drain(20).parked == 2
    assert server.stats().timeouts == 2


class Asking(Echo):
    def handle_one_request(self) -> None:
        self.rfile.readline()
        self.wfile.write(b"begun\n")
        self.rfile.readline()
        self.wfile.write(f"{self.server.draining}\n".encode())
        self.close_connection = self.server.draining


@pytest.mark.parametrize("mixin", [GREENLET, THREADING])
def test_handler_sees_that_its_server_is_drained(mixin: str) -> None:
    server = make_server(mixin, Asking)
    with serving(server), connect(server.server_address) as client:
        assert server.draining is False
        assert ask(client, b"x\n") == b"begun\n"
        draining = Draining(server, 20)
        assert ask(client, b"x\n") == b"True\n"
        draining.end()


def close_in_time(mixin: str, stop_first: bool) -> None:
    """server_close() with a graceful_timeout, while serving and after shutdown()."""
    server = make_server(mixin, Stuck, graceful_timeout=0.05)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    with connect(server.server_address) as stuck, connect(server.server_address) as idle:
        assert ask(stuck, b"x\n") == b"begun\n"
        if stop_first and mixin != NONE:
            server.shutdown()
        server.server_close()
        thread.join()
        for client in (stuck, idle):
            with contextlib.suppress(ConnectionResetError):
                assert receive_all(client) == b""


@pytest.mark.parametrize("mode", [UNPATCHED, PATCHED])
@pytest.mark.parametrize("stop_first", [True, False])
@under_every_mixin
# Or the hub of the thread that served ends first, and with it who was stuck.
@pytest.mark.expect_warnings("cut after .* s: ", always=False)
def test_closing_may_be_bounded(alone, mode: str, mixin: str, stop_first: bool) -> None:
    alone(mode, close_in_time, mixin, stop_first)


def test_drain_of_a_server_that_never_served_closes_it() -> None:
    with make_server(GREENLET, Echo) as server:
        assert server.drain(1)[:3] == (0, 0, ())
        # As after shutdown(): the next run ends as it begins.
        server.serve_forever()


@pytest.mark.parametrize("timeout", [-1, "soon", float("nan")])
def test_timeout_that_is_none_is_refused(timeout: Any) -> None:
    with (
        make_server(GREENLET, Echo) as server,
        pytest.raises(ValueError, match="number of seconds"),
    ):
        server.drain(timeout)
