"""Parked clients: what they cost, and what may happen to them while nobody runs for them."""

import functools
import http.server
import os
import socket
import threading
from typing import Any, ClassVar

import gevent
import pytest

from greensock.testing import running

from ..clients import (
    answer_of,
    ask,
    clients,
    connect,
    descriptors,
    eventually,
    exchange,
    is_kept_while_it_speaks,
    receive_all,
    receive_line,
    wait_until_parked,
)
from ..server_kinds import (
    FORKING,
    GREENLET,
    THREADING,
    Echo,
    everywhere,
    in_each_process,
    make_server,
    under_every_mixin,
    without_children,
)

pytest_plugins = ["tests.alone"]


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

    parkable = True  # each child may make it anew

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
            # A thread or child gives its client back before it is counted as ended.
            eventually(lambda: not getattr(server, "active_children", None))
            eventually(lambda: len(getattr(server, "_threads", ())) == 0)
            assert len(os.listdir("/proc/self/task")) == threads or mixin == THREADING
            for client in each:
                exchange(client, question, answer)
            wait_until_parked(server, 21)
        wait_until_parked(server, 0)


@in_each_process
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
    timeout = 0.2


def outlast_timeout(mixin: str) -> None:
    Noting.finished = []
    server = make_server(mixin, Impatient)
    with running(server) as address, connect(address) as client, connect(address) as silent:
        exchange(client, b"hello\n", b"hello\n")
        assert receive_all(client) == b""
        # And who never said anything, too, though no handler was made to say so.
        assert receive_all(silent) == b""
        eventually(lambda: server.stats().open == 0)
        assert server.stats().timeouts == 2
        if mixin != FORKING:
            assert Noting.finished == [(1, os.getpid())]


@everywhere
@under_every_mixin
def test_parked_client_is_ended_after_its_timeout(alone, mode: str, mixin: str) -> None:
    alone(mode, outlast_timeout, mixin)


@under_every_mixin
def test_client_who_speaks_in_time_outlives_its_timeout(mixin: str) -> None:
    class Patient(Echo):
        timeout = 0.3

    server = make_server(mixin, Patient)
    with running(server) as address:
        eventually(lambda: is_kept_while_it_speaks(address, Patient.timeout))


def leave(mixin: str, how: str) -> None:
    Noting.finished = []
    server = make_server(mixin, Noting, linger=0.001)
    with running(server) as address:
        client = connect(address)
        exchange(client, b"hello\n", b"hello\n")
        wait_until_parked(server, 1)
        client.reset() if how == "reset" else client.close()
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


def test_a_parked_client_has_one_descriptor_and_no_greenlet() -> None:
    server = make_server(GREENLET, Echo)
    with running(server) as address, connect(address) as warm:
        assert ask(warm, b"x\n") == b"x\n"
        before = len(descriptors())
        with clients(address, 10) as each:
            for client in each:
                assert ask(client, b"x\n") == b"x\n"
            wait_until_parked(server, 11)
            assert len(descriptors()) == before + 20
            # Its greenlet parks a client a moment before it rests.
            eventually(lambda: server._greensock.runner.pool.busy == 0)
    gevent.sleep(0)
