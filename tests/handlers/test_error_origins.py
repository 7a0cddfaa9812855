"""A client who has left is no error; a handler's own connection that fails is one, and is told."""

import contextlib
import http.client
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from greensock import StreamRequestHandler
from greensock.testing import running

from ..clients import connect, disconnect, eventually, receive_all
from ..separate_process import HERE, PATCHED
from ..server_kinds import NONE, make_server, under_every_mixin
from ..tls.certificates import NAME, client_context, server_context

pytest_plugins = ["tests.alone"]


@contextlib.contextmanager
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    mine, its = socket.socketpair()
    with mine, its:
        yield mine, its


class Asking(StreamRequestHandler):
    """What fails is a connection of its own; its client stays."""

    def handle(self) -> None:
        self.rfile.readline()
        getattr(self, self.server.failing)()

    def connect_to_nobody(self) -> None:
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            address = closed.getsockname()
        socket.create_connection(address)

    def write_to_nobody(self) -> None:
        with pair() as (mine, its):
            its.close()
            mine.sendall(b"query")

    def wait_too_long(self) -> None:
        request = self.request
        with pair() as (mine, _):
            mine.settimeout(0.01)
            mine.recv(len(str(request)))

    def read_file_too_long(self) -> None:
        with pair() as (mine, _), mine.makefile("rb") as answers:
            mine.settimeout(0.01)
            answers.readline()

    def ask_through_an_attribute(self) -> None:
        with pair() as (mine, its):
            its.close()
            self.backend = mine
            self.backend.sendall(b"query")

    def hear_nothing_from_http(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            backend = http.client.HTTPConnection(*listener.getsockname())
            backend.request("GET", "/")
            listener.accept()[0].close()
            try:
                backend.getresponse()
            finally:
                backend.close()

    def complain(self) -> None:
        raise ConnectionAbortedError("the database is closed")


ASKS = [name for name in vars(Asking) if not name.startswith("_") and name != "handle"]


class Leaving(StreamRequestHandler):
    """Its client leaves, or is silent."""

    timeout = 20.0

    def handle(self) -> None:
        self.rfile.readline()
        getattr(self, self.server.failing)()

    def write(self) -> None:
        while True:
            self.wfile.write(b"x" * 65536)

    def send(self) -> None:
        while True:
            self.request.sendall(b"x" * 65536)

    def send_as_a_function(self) -> None:
        send = self.connection.send
        while True:
            send(b"x" * 65536)

    def write_file(self) -> None:
        with self.request.makefile("wb") as answers:
            while True:
                answers.write(b"x" * 65536)

    def read_silence(self) -> None:
        self.request.settimeout(0.01)
        self.rfile.readline()

    def receive_silence(self) -> None:
        self.request.settimeout(0.01)
        self.request.recv(1)

    def receive_silence_elsewhere(self) -> None:
        def receive(sock: socket.socket) -> None:
            sock.settimeout(0.01)
            sock.recv(1)

        receive(self.request)

    def say_so(self) -> None:
        raise ConnectionResetError


NO_CASES = ("handle", "timeout")
LEAVES = [name for name in vars(Leaving) if not name.startswith("_") and name not in NO_CASES]


def has_been_told(server: Any) -> tuple[int, int]:
    stats = server.stats()
    return stats.errors, stats.disconnects + stats.timeouts


def count_as(mixin: str, handler: str, tls: bool, told: tuple[int, int]) -> None:
    kind, names = {"Asking": (Asking, ASKS), "Leaving": (Leaving, LEAVES)}[handler]
    attributes = {"ssl_context": server_context()} if tls else {}
    for failing in names:
        if tls and failing == "write_file":
            # What is left of the session says so in its own way.
            continue
        server = make_server(mixin, kind, failing=failing, idle_timeout=60, **attributes)
        with running(server) as address, connect(address) as plain:
            client: Any = plain
            if tls:
                client = client_context().wrap_socket(plain, server_hostname=NAME)
            client.sendall(b"x\n")
            if kind is Leaving and "silence" not in failing and failing != "say_so":
                client.recv(1)
                disconnect(client)
            else:
                with contextlib.suppress(OSError):
                    receive_all(client)
                client.close()
            eventually(lambda server=server: any(has_been_told(server)))
            assert has_been_told(server) == tuple(told), (failing, server.stats())


@pytest.mark.parametrize("mode", [HERE, PATCHED])
@under_every_mixin
@pytest.mark.expect_warnings("^Exception occurred")
def test_backend_that_fails_is_an_error(alone, mode: str, mixin: str) -> None:
    alone(mode, count_as, mixin, "Asking", False, (1, 0))


@pytest.mark.parametrize("mode", [HERE, PATCHED])
@pytest.mark.parametrize("tls", [False, True])
@under_every_mixin
def test_client_who_leaves_is_none(alone, mode: str, mixin: str, tls: bool) -> None:
    alone(mode, count_as, mixin, "Leaving", tls, (0, 1))


def fail_at_another(mixin: str) -> None:
    """One client's handler writes to another, who has left."""
    others: list[Any] = []
    begun = threading.Event()

    class Talking(StreamRequestHandler):
        def handle(self) -> None:
            if self.rfile.readline() == b"listen\n":
                others.append(self.request.dup())
                begun.set()
                return
            while True:
                others[0].sendall(b"x" * 65536)

    server = make_server(mixin, Talking)
    with running(server) as address:
        with connect(address) as listener:
            listener.sendall(b"listen\n")
            assert begun.wait(30)
            with connect(address) as talker:
                talker.sendall(b"talk\n")
                listener.recv(1)
                listener.reset()
                receive_all(talker)
        eventually(lambda: any(has_been_told(server)))
        assert has_been_told(server) == (1, 0)
        others[0].close()


@pytest.mark.parametrize("mixin", [NONE, "greenlet", "threading"])
@pytest.mark.expect_warnings("^Exception occurred")
def test_other_client_who_has_left_is_an_error(mixin: str) -> None:
    fail_at_another(mixin)
