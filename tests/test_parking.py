"""Parked clients: what they cost, and what may happen to them while nobody runs for them."""

import functools
import http.server
import os
import socket
import struct
import threading
import time
from pathlib import Path
from typing import Any, ClassVar

import gevent
import pytest
from greensock import StreamRequestHandler
from greensock.testing import running

from .clients import (
    answer_of,
    ask,
    clients,
    connect,
    descriptors,
    eventually,
    receive_all,
    receive_line,
)
from .separate_process import HERE, LIBUV, NATIVE_THREADS, PATCHED, PATCHED_LIBUV, UNPATCHED
from .server_kinds import (
    FORKING,
    GREENLET,
    MIXINS,
    NONE,
    THREADING,
    DeferredEcho,
    Echo,
    make_server,
)

pytest_plugins = ["tests.alone"]

everywhere = pytest.mark.parametrize(
    "mode", [HERE, PATCHED, NATIVE_THREADS, LIBUV, PATCHED_LIBUV]
)
in_each_process = pytest.mark.parametrize("mode", [HERE, PATCHED, LIBUV])
under_every_mixin = pytest.mark.parametrize("mixin", MIXINS)
# Where the handler object is the one that the program sees.
without_children = pytest.mark.parametrize("mixin", [NONE, GREENLET, THREADING])


def wait_until_parked(server: Any, count: int) -> None:
    eventually(lambda: server.stats().parked == count == server.stats().open)


def reset(client: socket.socket) -> None:
    """Close so that the other end sees an error, not an end."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


class Http(http.server.BaseHTTPRequestHandler):
    """As programs write it, on the standard library's socketserver."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = self.path.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


class HttpOfFolder(Http):
    """Takes an argument of its own, as SimpleHTTPRequestHandler does."""

    def __init__(self, *args: Any, folder: str) -> None:
        self.folder = folder
        super().__init__(*args)


HANDLERS = {
    "Echo": (Echo, b"hello\n", b"hello\n"),
    "Http": (Http, b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n", b"/hello"),
    "partial": (
        functools.partial(functools.partial(HttpOfFolder), folder="x"),
        b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n",
        b"/hello",
    ),
}


def exchange(client: socket.socket, question: bytes, answer: bytes) -> None:
    client.sendall(question)
    received = b""
    while not received.endswith(answer):
        part = client.recv(4096)
        assert part, received
        received += part


def park_and_count(mixin: str, name: str) -> None:
    handler, question, answer = HANDLERS[name]
    server = make_server(mixin, handler, linger=0.001)
    with running(server) as address:
        answering = connect(address)
        exchange(answering, question, answer)
        threads = len(os.listdir("/proc/self/task"))
        with answering, clients(address, 20) as each:
            for client in each:
                exchange(client, question, answer)
            wait_until_parked(server, 21)
            assert not getattr(server, "active_children", None)
            assert len(os.listdir("/proc/self/task")) == threads or mixin == THREADING
            assert len(getattr(server, "_threads", ())) == 0
            for client in each:
                exchange(client, question, answer)
            wait_until_parked(server, 21)
        wait_until_parked(server, 0)


@everywhere
@under_every_mixin
@pytest.mark.parametrize("name", HANDLERS)
def test_silent_client_is_parked_and_served_on(alone, mode: str, mixin: str, name: str) -> None:
    alone(mode, park_and_count, mixin, name)


def end_http_client(mixin: str) -> None:
    with running(make_server(mixin, Http)) as address, connect(address) as client:
        client.sendall(b"GET /1 HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\nConnection: close\r\n\r\n")
        received = receive_all(client)
        assert received.index(b"/1") < received.index(b"/2")
        with connect(address) as old:
            old.sendall(b"GET /3 HTTP/1.0\r\n\r\n")
            assert receive_all(old).endswith(b"/3")


@in_each_process
@under_every_mixin
def test_http_client_who_says_close_is_closed(alone, mode: str, mixin: str) -> None:
    alone(mode, end_http_client, mixin)


def pipeline(mixin: str) -> None:
    lines = b"".join(b"%d\n" % number for number in range(500))
    with running(make_server(mixin, Echo)) as address, connect(address) as client:
        client.sendall(lines)
        client.shutdown(socket.SHUT_WR)
        assert receive_all(client) == lines


@everywhere
@under_every_mixin
def test_pipelined_requests_are_answered_in_order(alone, mode: str, mixin: str) -> None:
    alone(mode, pipeline, mixin)


class Begun(Echo):
    """Says that it runs before it reads to the end of the line."""

    def handle_one_request(self) -> None:
        self.wfile.write(self.rfile.read(1))
        self.wfile.write(self.rfile.readline())


def send_in_pieces(mixin: str) -> None:
    with running(make_server(mixin, Begun)) as address, connect(address) as client:
        for _ in range(2):
            client.sendall(b"h")
            assert client.recv(1) == b"h"
            # Now the handler waits for the rest, in whatever it runs.
            client.sendall(b"el")
            client.sendall(b"lo\n")
            assert receive_line(client) == b"ello\n"


@everywhere
@under_every_mixin
def test_handler_may_wait_for_the_rest_of_its_request(alone, mode: str, mixin: str) -> None:
    alone(mode, send_in_pieces, mixin)


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


class Impatient(Noting):
    timeout = 0.05


def outlast_timeout(mixin: str) -> None:
    Noting.finished = []
    server = make_server(mixin, Impatient)
    with running(server) as address, connect(address) as client, connect(address) as silent:
        exchange(client, b"hello\n", b"hello\n")
        assert receive_all(client) == b""
        eventually(lambda: server.stats().open == 1)
        assert server.stats().timeouts == 1
        if mixin != FORKING:
            assert Noting.finished == [(1, os.getpid())]
        # Without a handler yet there is no timeout of its.
        exchange(silent, b"hello\n", b"hello\n")


@everywhere
@under_every_mixin
def test_parked_client_is_ended_after_its_timeout(alone, mode: str, mixin: str) -> None:
    alone(mode, outlast_timeout, mixin)


@under_every_mixin
def test_client_who_speaks_in_time_outlives_its_timeout(mixin: str) -> None:
    class Patient(Echo):
        timeout = 0.3

    server = make_server(mixin, Patient)
    with running(server) as address, connect(address) as client:
        begun = time.monotonic()
        while time.monotonic() < begun + 0.5:
            assert ask(client, b"still here\n") == b"still here\n"
            time.sleep(0.05)


def leave(mixin: str, how: str) -> None:
    Noting.finished = []
    server = make_server(mixin, Noting, linger=0.001)
    with running(server) as address:
        client = connect(address)
        exchange(client, b"hello\n", b"hello\n")
        wait_until_parked(server, 1)
        reset(client) if how == "reset" else client.close()
        eventually(lambda: server.stats().open == 0)
        assert server.stats().errors == 0
        if mixin != FORKING:
            eventually(lambda: Noting.finished == [(1, os.getpid())])
        assert answer_of(address, b"next\n") == b"next\n"


@in_each_process
@under_every_mixin
@pytest.mark.parametrize("how", ["end", "reset"])
def test_client_may_leave_while_it_is_parked(alone, mode: str, mixin: str, how: str) -> None:
    alone(mode, leave, mixin, how)


class Known(Echo):
    """Whose instances the program knows, to write to them or to close them."""

    instances: ClassVar[list["Known"]] = []

    def handle_one_request(self) -> None:
        if self not in self.instances:
            self.instances.append(self)
        super().handle_one_request()

    def close(self) -> None:
        """A socket stays open for as long as a file on it is."""
        self.rfile.close()
        self.request.close()


def push(mixin: str) -> None:
    Known.instances = []
    server = make_server(mixin, Known, linger=0.001)
    with running(server) as address, connect(address) as client:
        exchange(client, b"hello\n", b"hello\n")
        wait_until_parked(server, 1)
        # More than the kernel takes at once: the writer waits, the client stays parked.
        news = b"news" * 500_000 + b"\n"
        pushing = threading.Thread(target=Known.instances[0].wfile.write, args=(news,))
        pushing.start()
        received = b""
        while len(received) < len(news):
            received += client.recv(65536)
        pushing.join()
        assert received == news
        assert ask(client, b"again\n") == b"again\n"


@in_each_process
@without_children
def test_parked_client_can_be_written_to(alone, mode: str, mixin: str) -> None:
    alone(mode, push, mixin)


def close_from_outside(mixin: str, how: str) -> None:
    Known.instances = []
    server = make_server(mixin, Known, linger=0.001)
    with running(server) as address, connect(address) as client, connect(address) as other:
        exchange(other, b"other\n", b"other\n")
        exchange(client, b"hello\n", b"hello\n")
        wait_until_parked(server, 2)
        handler = Known.instances[1]
        request = handler.request
        close = {
            "close": handler.close,
            "shutdown_request": lambda: server.shutdown_request(request),
            "shutdown": lambda: request.shutdown(socket.SHUT_RDWR),
        }[how]
        closing = threading.Thread(target=close)
        closing.start()
        closing.join()
        assert receive_all(client) == b""
        if how == "shutdown_request":
            # The handler's rfile keeps the socket open; this end is the last.
            client.close()
        eventually(lambda: server.stats().open == 1)
        # Whoever gets the number next is a client of its own.
        with clients(address, 3) as each:
            for number, newcomer in enumerate(each):
                line = b"%d\n" % number
                assert ask(newcomer, line) == line
        assert ask(other, b"other again\n") == b"other again\n"


@everywhere
@without_children
@pytest.mark.parametrize("how", ["close", "shutdown_request", "shutdown"])
def test_anybody_may_close_a_parked_client(alone, mode: str, mixin: str, how: str) -> None:
    alone(mode, close_from_outside, mixin, how)


def close_from_greenlet(mixin: str) -> None:
    class Closing(Known):
        def handle_one_request(self) -> None:
            super().handle_one_request()
            for other in self.instances:
                if other is not self:
                    other.close()

    Known.instances = []
    server = make_server(mixin, Closing, linger=0.001)
    with running(server) as address, connect(address) as first, connect(address) as second:
        exchange(first, b"hello\n", b"hello\n")
        wait_until_parked(server, 2)
        exchange(second, b"close it\n", b"close it\n")
        assert receive_all(first) == b""
        eventually(lambda: server.stats().open == 1)
        assert answer_of(address, b"next\n") == b"next\n"


@everywhere
@without_children
def test_handler_may_close_another_parked_client(alone, mode: str, mixin: str) -> None:
    alone(mode, close_from_greenlet, mixin)


@under_every_mixin
def test_what_is_written_is_flushed_before_parking(mixin: str) -> None:
    class Buffered(Echo):
        wbufsize = 65536

    with running(make_server(mixin, Buffered)) as address, connect(address) as client:
        assert ask(client, b"1\n") == b"1\n"
        assert ask(client, b"2\n") == b"2\n"


class Holding(Echo):
    """Tells that it has begun, and is busy until its client sends more."""

    def handle_one_request(self) -> None:
        self.rfile.readline()
        self.wfile.write(b"begun\n")
        self.wfile.write(self.rfile.readline())


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


class Counting(Echo):
    """Counts, across processes, how many requests were handled before another client's."""

    handled: ClassVar[Any] = None
    close_at = 0

    def handle_one_request(self) -> None:
        if self.rfile.readline() == b"how many?\n":
            self.wfile.write(b"%d\n" % os.fstat(self.handled).st_size)
        else:
            os.write(self.handled, b".")


def flood(mixin: str, lines: int) -> None:
    Counting.handled = os.memfd_create("handled")
    with (
        running(make_server(mixin, Counting)) as address,
        connect(address) as flooder,
        connect(address) as other,
    ):
        assert ask(other, b"how many?\n") == b"0\n"
        flooding = threading.Thread(target=flooder.sendall, args=(b"x\n" * lines,))
        flooding.start()
        eventually(lambda: os.fstat(Counting.handled).st_size > 0)
        assert int(ask(other, b"how many?\n")) < lines
        eventually(lambda: os.fstat(Counting.handled).st_size == lines)
        flooding.join()
    os.close(Counting.handled)


@in_each_process
@under_every_mixin
def test_client_who_floods_does_not_starve_others(alone, mode: str, mixin: str) -> None:
    alone(mode, flood, mixin, 200_000 if mixin in (NONE, GREENLET) else 20_000)


class DoesNotRead(Echo):
    """Answers without reading: it is wanted again, and again."""

    def handle_one_request(self) -> None:
        if self.rfile.peek(1)[:1] == b"!":
            super().handle_one_request()


@in_each_process
@pytest.mark.parametrize("mixin", [NONE, GREENLET])
def test_handler_that_never_reads_starves_nobody(alone, mode: str, mixin: str) -> None:
    alone(mode, leave_unread, mixin)


def leave_unread(mixin: str) -> None:
    with running(make_server(mixin, DoesNotRead)) as address:
        with connect(address) as unread, connect(address) as other:
            unread.sendall(b"x\n")
            for _ in range(10):
                assert ask(other, b"!\n") == b"!\n"
            unread.shutdown(socket.SHUT_RDWR)


def wakeups(thread: int) -> int:
    status = Path(f"/proc/self/task/{thread}/status").read_text()
    (line,) = (each for each in status.splitlines() if each.startswith("voluntary_ctxt"))
    return int(line.split()[1])


def count_wakeups_while_idle() -> None:
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
    before = {mixin: wakeups(threads[mixin]) for mixin in MIXINS}
    time.sleep(1)
    after = {mixin: wakeups(threads[mixin]) for mixin in MIXINS}
    for server in servers.values():
        server.shutdown()
    for thread in serving:
        thread.join()
    for client, server in zip(idle, servers.values(), strict=True):
        client.close()
        server.server_close()
    assert after == before


@pytest.mark.parametrize("mode", [HERE, LIBUV])
def test_idle_server_never_wakes_up(alone, mode: str) -> None:
    alone(mode, count_wakeups_while_idle)


def serve_again(mixin: str) -> None:
    server = make_server(mixin, Echo, linger=0.001)
    silent = connect(server.server_address)
    client = connect(server.server_address)
    for number in range(3):
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        line = b"%d\n" % number
        exchange(client, line, line)
        wait_until_parked(server, 2)
        server.shutdown()
        thread.join()
        assert server.stats().parked == 2
    client.sendall(b"while nobody serves\n")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    assert receive_line(client) == b"while nobody serves\n"
    assert ask(silent, b"at last\n") == b"at last\n"
    server.shutdown()
    thread.join()
    server.server_close()
    assert receive_all(client) == b""
    assert receive_all(silent) == b""
    client.close()
    silent.close()


@everywhere
@under_every_mixin
def test_parked_clients_outlive_shutdown(alone, mode: str, mixin: str) -> None:
    alone(mode, serve_again, mixin)


def stop_amid_return(mixin: str) -> None:
    """A turn ends elsewhere while the serving greenlet is in a hook that stops the server."""

    stop = threading.Event()

    def service_actions(self: Any) -> None:
        if stop.is_set():
            busy = self._threads if mixin == THREADING else self.active_children
            eventually(lambda: not busy or children_are_gone(self))
            self.shutdown()

    server = make_server(mixin, Holding, linger=0, service_actions=service_actions)
    client = connect(server.server_address)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    assert ask(client, b"x\n") == b"begun\n"
    stop.set()
    client.sendall(b"y\n")
    thread.join()
    assert receive_line(client) == b"y\n"
    stop.clear()
    with running(server), client:
        assert ask(client, b"x\n") == b"begun\n"
        assert ask(client, b"y\n") == b"y\n"


def children_are_gone(server: Any) -> bool:
    return all(
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None
        for pid in server.active_children or ()
    )


@pytest.mark.parametrize("mode", [HERE, UNPATCHED, LIBUV])
@pytest.mark.parametrize("mixin", [THREADING, FORKING])
def test_turn_that_ends_as_the_server_stops_is_not_lost(alone, mode: str, mixin: str) -> None:
    alone(mode, stop_amid_return, mixin)


def hold_idle_clients(mixin: str, count: int) -> None:
    import resource

    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(20_000, hard), hard))
    server = make_server(mixin, Echo, linger=0.001)
    with running(server) as address, connect(address) as first:
        assert ask(first, b"first\n") == b"first\n"
        with clients(address, count - 1):
            wait_until_parked(server, count)
            assert answer_of(address, b"one more\n") == b"one more\n"
            assert ask(first, b"first again\n") == b"first again\n"


@pytest.mark.parametrize("mode", [UNPATCHED])
@under_every_mixin
def test_thousands_of_idle_clients_keep_nobody_waiting(alone, mode: str, mixin: str) -> None:
    alone(mode, hold_idle_clients, mixin, 5_000)


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
        try:
            assert receive_all(client) == b""
        except ConnectionResetError:
            pass


@under_every_mixin
def test_greeting_of_an_own_setup_comes_unasked(mixin: str) -> None:
    class Greeting(Echo):
        def setup(self) -> None:
            super().setup()
            self.wfile.write(b"welcome\n")

    server = make_server(mixin, Greeting)
    with running(server) as address, connect(address) as client:
        assert receive_line(client) == b"welcome\n"
        wait_until_parked(server, 1)
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
            self.rfile = socket.SocketIO(self.request, "r")
            import io

            self.rfile = io.BufferedReader(self.rfile)

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
        client.sendall(b"1\n2\n")
        assert [receive_line(client) for _ in range(2)] == [b"1\n", b"2\n"]
        assert ask(client, b"3\n") == b"3\n"


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


def test_a_parked_client_has_one_descriptor_and_no_greenlet() -> None:
    server = make_server(GREENLET, Echo)
    with running(server) as address:
        with connect(address) as warm:
            assert ask(warm, b"x\n") == b"x\n"
            before = len(descriptors())
            with clients(address, 10) as each:
                for client in each:
                    assert ask(client, b"x\n") == b"x\n"
                wait_until_parked(server, 11)
                assert len(descriptors()) == before + 20
                assert server._pool.busy == 0
    gevent.sleep(0)
