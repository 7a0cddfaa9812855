"""Turns: how many run at once, who comes next, and what is kept between them."""

import contextlib
import io
import os
import socket
import threading
import time
from pathlib import Path
from typing import Any, ClassVar

import pytest

from greensock import StreamRequestHandler
from greensock.files.streams import FIRST_READ_SIZE
from greensock.sockets.requests import SMALL_READ_SIZE
from greensock.testing import running

from ..clients import (
    ask,
    clients,
    connect,
    eventually,
    exchange,
    receive_all,
    receive_line,
    wait_until_parked,
)
from ..separate_process import HERE, LIBUV, NATIVE_THREADS, PATCHED
from ..server_kinds import (
    FORKING,
    GREENLET,
    MIXINS,
    NONE,
    THREADING,
    DeferredEcho,
    Echo,
    Holding,
    in_each_process,
    make_server,
    under_every_mixin,
    without_children,
)

pytest_plugins = ["tests.alone"]


class Noting(Echo):
    """Tells in the parent what became of it."""

    finished: ClassVar[list[Any]] = []
    handled = 0

    def handle_one_request(self) -> None:
        self.handled += 1
        super().handle_one_request()

    def finish(self) -> None:
        super().finish()
        self.finished.append((self.handled, os.getpid()))


@pytest.mark.parametrize("linger", [0, 1000])
@under_every_mixin
def test_what_is_written_is_flushed_before_parking(mixin: str, linger: float) -> None:
    class Buffered(Echo):
        wbufsize = 65536

    server = make_server(mixin, Buffered, linger=linger)
    with running(server) as address, connect(address) as client:
        assert ask(client, b"1\n") == b"1\n"
        assert ask(client, b"2\n") == b"2\n"


def keep_to_limit(mixin: str, attribute: str) -> None:
    server = make_server(mixin, Holding, linger=0, **{attribute: 2})
    with running(server) as address, clients(address, 6) as each, clients(address, 10) as idle:
        for client in idle:
            # Parked ones do not count.
            assert ask(client, b"x\n") == b"begun\n"
            assert ask(client, b"y\n") == b"y\n"
        for client in each:
            client.sendall(b"begin\n")
        served = []
        waiting = list(each)
        for _ in range(3):
            ready = wait_for_readable(waiting, 2)
            assert len(ready) == 2
            for client in ready:
                assert receive_line(client) == b"begun\n"
                waiting.remove(client)
            # All that may run do run, and wait for their clients.
            assert not wait_for_readable(waiting, 1, 0.02)
            for client in ready:
                assert ask(client, b"end\n") == b"end\n"
            served += ready
        assert len(served) == 6


def wait_for_readable(
    sockets: list[socket.socket], count: int, seconds: float = 20
) -> list[socket.socket]:
    """Those that are readable, once `count` of them are."""
    deadline = time.monotonic() + seconds
    ready: list[socket.socket] = []
    while len(ready) < count and time.monotonic() < deadline:
        ready = [each for each in sockets if has_data(each)]
        time.sleep(0.001)
    return ready


def has_data(sock: socket.socket) -> bool:
    sock.setblocking(False)
    try:
        return bool(sock.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return False
    finally:
        sock.settimeout(20)


@in_each_process
@pytest.mark.parametrize(
    ("mixin", "attribute"),
    [(GREENLET, "max_greenlets"), (THREADING, "max_threads"), (FORKING, "max_children")],
)
def test_limit_counts_busy_clients_only(alone, mode: str, mixin: str, attribute: str) -> None:
    alone(mode, keep_to_limit, mixin, attribute)


class DoesNotRead(Echo):
    """Answers without reading: it is wanted again, and again."""

    stop = False

    def handle_one_request(self) -> None:
        self.close_connection = self.stop
        if self.rfile.peek(1)[:1] == b"!":
            super().handle_one_request()


@in_each_process
@pytest.mark.parametrize("mixin", [NONE, GREENLET])
def test_handler_that_never_reads_starves_nobody(alone, mode: str, mixin: str) -> None:
    alone(mode, leave_unread, mixin)


def leave_unread(mixin: str) -> None:
    with (
        running(make_server(mixin, DoesNotRead)) as address,
        connect(address) as unread,
        connect(address) as other,
    ):
        unread.sendall(b"x\n")
        for _ in range(10):
            assert ask(other, b"!\n") == b"!\n"
        DoesNotRead.stop = True
    DoesNotRead.stop = False


def wakeups(thread: int) -> int:
    status = Path(f"/proc/self/task/{thread}/status").read_text()
    (line,) = (each for each in status.splitlines() if each.startswith("voluntary_ctxt"))
    return int(line.split()[1])


def test_idle_server_never_wakes_up() -> None:
    """On libev; libuv wakes gevent three times a second, to look for signals."""
    threads: dict[str, int] = {}
    servers = {mixin: make_server(mixin, Echo, linger=0) for mixin in MIXINS}

    def serve(mixin: str) -> None:
        threads[mixin] = threading.get_native_id()
        servers[mixin].serve_forever(0.01)

    serving = [threading.Thread(target=serve, args=(mixin,)) for mixin in MIXINS]
    for thread in serving:
        thread.start()
    idle = [connect(server.server_address) for server in servers.values()]
    for client, server in zip(idle, servers.values(), strict=True):
        assert ask(client, b"x\n") == b"x\n"
        wait_until_parked(server, 1)
    # The last to be parked may still be on its way to its sleep when the first second begins. Who
    # wakes by a clock, poll_interval's say, has no second without.
    for _ in range(5):
        before = {mixin: wakeups(threads[mixin]) for mixin in MIXINS}
        time.sleep(1)
        after = {mixin: wakeups(threads[mixin]) for mixin in MIXINS}
        if after == before:
            break
    for server in servers.values():
        server.shutdown()
    for thread in serving:
        thread.join()
    for client, server in zip(idle, servers.values(), strict=True):
        client.close()
        server.server_close()
    assert after == before


class Keeping(Echo):
    count = 0

    def handle_one_request(self) -> None:
        self.rfile.readline()
        self.count += 1
        self.wfile.write(b"%d\n" % self.count)


@pytest.mark.parametrize("mixin", MIXINS)
def test_handler_keeps_what_it_has_on_itself(mixin: str) -> None:
    server = make_server(mixin, Keeping, linger=0)
    with running(server) as address, connect(address) as client:
        answers = []
        for _ in range(3):
            answers.append(ask(client, b"?\n"))
            wait_until_parked(server, 1)
        # What a child changes stays in it; the connection does not.
        assert answers == [b"1\n"] * 3 if mixin == FORKING else [b"1\n", b"2\n", b"3\n"]


@under_every_mixin
def test_close_connection_ends_the_client(mixin: str) -> None:
    class Quitting(Echo):
        def handle_one_request(self) -> None:
            line = self.rfile.readline()
            self.close_connection = line == b"quit\n"
            self.wfile.write(line)

    with running(make_server(mixin, Quitting)) as address, connect(address) as client:
        assert ask(client, b"x\n") == b"x\n"
        client.sendall(b"quit\nnever read\n")
        assert receive_line(client) == b"quit\n"
        # Bytes that nobody has read make the kernel reset the connection.
        with contextlib.suppress(ConnectionResetError):
            assert receive_all(client) == b""


@under_every_mixin
def test_greeting_of_an_own_setup_comes_unasked(mixin: str) -> None:
    class Greeting(Echo):
        def setup(self) -> None:
            super().setup()
            self.wfile.write(b"welcome\n")

    server = make_server(mixin, Greeting)
    with running(server) as address, connect(address) as client:
        assert receive_line(client) == b"welcome\n"
        # With what its setup() has done, its child alone can go on.
        eventually(lambda: server.stats().parked == (mixin != FORKING))
        assert ask(client, b"x\n") == b"x\n"


@under_every_mixin
def test_deferred_handler_starts_with_the_first_byte(mixin: str) -> None:
    server = make_server(mixin, DeferredEcho)
    with running(server) as address, connect(address) as client:
        connect(address).close()
        wait_until_parked(server, 1)
        assert ask(client, b"x\n") == b"x\n"
        assert ask(client, b"y\n") == b"y\n"
        assert server.stats().parked == 0


def defer_in_mode(mixin: str) -> None:
    with running(make_server(mixin, DeferredEcho)) as address, connect(address) as client:
        assert ask(client, b"x\n") == b"x\n"
        assert ask(client, b"y\n") == b"y\n"


@pytest.mark.parametrize("mode", [PATCHED, NATIVE_THREADS, LIBUV])
@under_every_mixin
def test_deferred_handler_may_wait_for_more(alone, mode: str, mixin: str) -> None:
    alone(mode, defer_in_mode, mixin)


class PromisesToPark(StreamRequestHandler):
    parkable = True
    close_connection = False

    def handle(self) -> None:
        raise AssertionError("the server runs the loop itself")

    def handle_one_request(self) -> None:
        self.wfile.write(self.rfile.readline())


class RefusesToPark(Echo):
    parkable = False


@under_every_mixin
@pytest.mark.parametrize("handler", [PromisesToPark, RefusesToPark])
def test_parkable_overrules_the_guess(mixin: str, handler: type) -> None:
    server = make_server(mixin, handler, linger=0.001)
    with running(server) as address, connect(address) as client:
        assert ask(client, b"x\n") == b"x\n"
        assert ask(client, b"y\n") == b"y\n"
        if handler is PromisesToPark:
            wait_until_parked(server, 1)
        else:
            assert server.stats().parked == 0


@under_every_mixin
def test_handler_with_a_reader_of_its_own_is_not_parked(mixin: str) -> None:
    """What that reader has taken from the socket, nobody else knows of."""

    class OwnReader(Echo):
        def setup(self) -> None:
            super().setup()
            self.rfile.close()
            self.rfile = io.BufferedReader(socket.SocketIO(self.request, "r"))

    server = make_server(mixin, OwnReader)
    with running(server) as address, connect(address) as client:
        client.sendall(b"1\n2\n3\n")
        assert [receive_line(client) for _ in range(3)] == [b"1\n", b"2\n", b"3\n"]
        assert ask(client, b"4\n") == b"4\n"
        assert server.stats().parked == 0


@under_every_mixin
def test_unbuffered_reader_parks_too(mixin: str) -> None:
    class Unbuffered(Echo):
        rbufsize = 0

    with running(make_server(mixin, Unbuffered)) as address, connect(address) as client:
        # More requests at once than one turn may hear.
        lines = b"".join(b"%d\n" % number for number in range(100))
        exchange(client, lines, lines)
        assert ask(client, b"x\n") == b"x\n"


@without_children
def test_closing_the_server_finishes_parked_handlers(mixin: str) -> None:
    Noting.finished = []
    server = make_server(mixin, Noting, linger=0.001)
    with running(server) as address, connect(address) as client:
        exchange(client, b"x\n", b"x\n")
        wait_until_parked(server, 1)
        server.server_close()
        assert receive_all(client) == b""
        assert Noting.finished == [(1, os.getpid())]
        assert server.stats().open == 0


def test_request_taken_from_the_server_is_not_closed_by_it() -> None:
    """A handler may detach its request and hand the descriptor to something else."""
    taken: list[int] = []

    class Taking(Echo):
        def handle_one_request(self) -> None:
            self.rfile.readline()
            taken.append(self.request.detach())
            self.close_connection = True

    with running(make_server(GREENLET, Taking)) as address, connect(address) as client:
        client.sendall(b"x\n")
        eventually(lambda: taken)
        with socket.socket(fileno=taken[0]) as own:
            own.sendall(b"mine now\n")
            assert receive_line(client) == b"mine now\n"


def echo_lines_about_the_size_of_a_read(mixin: str) -> None:
    with running(make_server(mixin, Echo)) as address, clients(address, 2) as pair:
        for size in (1, SMALL_READ_SIZE, FIRST_READ_SIZE, 3 * FIRST_READ_SIZE):
            for length in (size - 1, size, size + 1):
                line = b"x" * (length - 1) + b"\n" if length else b"\n"
                for client in pair:
                    exchange(client, line, line)
                    # With the next one right behind it.
                    exchange(client, line + b"next\n", line + b"next\n")


@under_every_mixin
@pytest.mark.parametrize("mode", [HERE, LIBUV])
def test_requests_about_the_size_of_a_read_are_whole(alone, mode: str, mixin: str) -> None:
    alone(mode, echo_lines_about_the_size_of_a_read, mixin)
