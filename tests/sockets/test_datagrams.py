"""Datagrams: each is answered, and the socket stays as it was."""

import os
import socket
import sys
from typing import Any

import gevent
import pytest
from gevent import monkey

from greensock import (
    BaseRequestHandler,
    DatagramRequestHandler,
)
from greensock.testing import running

from ..clients import eventually
from ..separate_process import (
    LIBUV,
    PATCHED,
    STUCK,
    UNPATCHED,
)
from ..server_kinds import (
    ANY_PORT,
    FORKING,
    GREENLET,
    NONE,
    THREADING,
    UDP,
    UNIX_DATAGRAM,
    everywhere,
    server_class,
    under_every_mixin,
)

pytest_plugins = ["tests.alone"]

OriginalSocket: Any = monkey.get_original("socket", "socket")


class EchoDatagram(DatagramRequestHandler):
    def handle(self) -> None:
        self.wfile.write(self.rfile.read())


def echo_datagrams(mixin: str, count: int) -> None:
    server = server_class(mixin, UDP)(ANY_PORT, EchoDatagram)
    was_blocking = os.get_blocking(server.fileno())
    modes = set()
    received: set[bytes] = set()
    with running(server) as address, socket.socket(type=socket.SOCK_DGRAM) as client:
        client.settimeout(STUCK)
        client.connect(address)
        for first in range(0, count, 50):
            # Fewer at once than the kernel's buffers hold, so that none is lost.
            for number in range(first, first + 50):
                client.send(b"%d" % number)
            received.update(client.recv(100) for _ in range(50))
            modes.add(os.get_blocking(server.fileno()))
        client.send(b"")
        assert client.recv(100) == b""
    counted = server.stats()
    assert (counted.accepted, counted.open, counted.busy) == (count + 1, 0, 0)
    assert received == {b"%d" % number for number in range(count)}
    assert modes == {was_blocking}


@everywhere
@under_every_mixin
def test_every_datagram_is_answered(alone, mode: str, mixin: str) -> None:
    # A child for each costs 2 ms.
    alone(mode, echo_datagrams, mixin, 100 if mixin == FORKING else 1000)


def answer_one_who_does_not_read(mixin: str, folder: str) -> None:
    """A Unix client whose queue is full blocks its own handlers only."""
    path = f"{folder}/server-{mixin}-{os.getpid()}"
    server = server_class(mixin, UNIX_DATAGRAM)(path, EchoDatagram)
    names = [f"{path}-{name}" for name in ("deaf", "client")]
    deaf, client = (socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(2))
    with running(server), deaf, client:
        deaf.bind(names[0])
        client.bind(names[1])
        for sock in (deaf, client):
            sock.settimeout(STUCK)
        backlog = 100
        for _ in range(backlog):
            send_datagram(deaf, b"x", path)
        send_datagram(client, b"y", path)
        assert client.recv(10) == b"y"
        for _ in range(backlog):
            assert deaf.recv(10) == b"x"
    for name in (path, *names):
        os.unlink(name)


def send_datagram(sock: socket.socket, data: bytes, path: str) -> None:
    # gevent's sendto waits once for a full queue, and then returns 0.
    while not sock.sendto(data, path):
        gevent.sleep(0.001)


@pytest.mark.parametrize("mode", [UNPATCHED, PATCHED, LIBUV])
@pytest.mark.parametrize("mixin", [GREENLET, THREADING])
def test_datagram_client_who_does_not_read_blocks_itself(
    alone, mode: str, mixin: str, tmp_path: Any
) -> None:
    alone(mode, answer_one_who_does_not_read, mixin, str(tmp_path))


class Answer(BaseRequestHandler):
    """Answers with what it was asked; the server is told of what goes wrong."""

    def handle(self) -> None:
        data, server_socket = self.request
        if data == b"fail":
            raise ValueError("asked to")
        if data == b"exit":
            raise SystemExit
        if data == b"stop":
            self.server.shutdown()
        server_socket.sendto(data, self.client_address)


def datagram_server(mixin: str, handler: Any, **attributes: Any) -> Any:
    base = server_class(mixin, UDP)
    return type(base.__name__, (base,), attributes)(ANY_PORT, handler)


def ask(address: Any, *questions: bytes) -> list[bytes]:
    """The answers to all of these but those that are to have none."""
    with socket.socket(type=socket.SOCK_DGRAM) as client:
        client.settimeout(STUCK)
        client.connect(address)
        for question in questions:
            client.send(question)
        expected = [question for question in questions if question not in (b"fail", b"exit")]
        return [client.recv(100) for _ in expected]


HOOKS = [
    "get_request",
    "verify_request",
    "process_request",
    "finish_request",
    "shutdown_request",
    "close_request",
]


@pytest.mark.parametrize("mixin", [NONE, GREENLET])
@pytest.mark.parametrize("hook", HOOKS)
def test_hook_of_the_program_is_called(mixin: str, hook: str) -> None:
    calls: list[tuple[Any, ...]] = []

    def call(server: Any, *arguments: Any) -> Any:
        calls.append(arguments)
        return getattr(server_class(mixin, UDP), hook)(server, *arguments)

    with running(datagram_server(mixin, Answer, **{hook: call})) as address:
        assert ask(address, b"a", b"b") == [b"a", b"b"]
        eventually(lambda: len(calls) >= 2)


@pytest.mark.parametrize("mixin", [NONE, GREENLET])
@pytest.mark.parametrize("hook", HOOKS)
def test_hook_that_a_handler_sets_is_called_from_then_on(mixin: str, hook: str) -> None:
    calls: list[tuple[Any, ...]] = []

    class Setting(Answer):
        def handle(self) -> None:
            standard = getattr(self.server, hook)

            def call(*arguments: Any) -> Any:
                calls.append(arguments)
                return standard(*arguments)

            if self.request[0] == b"set":
                setattr(self.server, hook, call)
            Answer.handle(self)

    server = datagram_server(mixin, Setting)
    with socket.socket(type=socket.SOCK_DGRAM) as client:
        client.settimeout(STUCK)
        client.connect(server.server_address)
        client.send(b"set")
        if mixin == NONE:
            # Right behind it: in greenlets, nobody can tell which handler comes first.
            client.send(b"next")
        with running(server):
            assert client.recv(100) == b"set"
            if mixin == GREENLET:
                client.send(b"next")
            assert client.recv(100) == b"next"
            eventually(lambda: calls)


def test_own_process_request_greenlet_is_called() -> None:
    calls: list[Any] = []

    def process(server: Any, request: Any, client_address: Any) -> None:
        calls.append(request[0])
        server_class(GREENLET, UDP).process_request_greenlet(server, request, client_address)

    server = datagram_server(GREENLET, Answer, process_request_greenlet=process)
    with running(server) as address:
        assert ask(address, b"a", b"b") == [b"a", b"b"]
    assert calls == [b"a", b"b"]


@pytest.mark.parametrize("mixin", [NONE, GREENLET])
@pytest.mark.parametrize("method", ["__init__", "setup", "finish"])
def test_method_of_the_handler_is_called(mixin: str, method: str) -> None:
    calls: list[Any] = []

    def call(handler: Any, *arguments: Any) -> None:
        calls.append(arguments)
        getattr(Answer, method)(handler, *arguments)

    handler = type("Own", (Answer,), {method: call})
    with running(datagram_server(mixin, handler)) as address:
        assert ask(address, b"a", b"b") == [b"a", b"b"]
        eventually(lambda: len(calls) == 2)


@pytest.mark.parametrize("mixin", [NONE, GREENLET])
def test_handler_that_raises_keeps_no_other_datagram(mixin: str) -> None:
    errors: list[tuple[Any, Any]] = []

    def handle_error(server: Any, request: Any, client_address: Any) -> None:
        errors.append((sys.exc_info()[0], request[0]))

    server = datagram_server(mixin, Answer, handle_error=handle_error)
    exits = [b"exit"] if mixin == GREENLET else []
    with running(server) as address:
        questions = [b"a", b"fail", *exits, b"b", b"fail", b"c"]
        assert ask(address, *questions) == [b"a", b"b", b"c"]
    assert errors == [(ValueError, b"fail")] * 2


def test_shutdown_by_a_handler_leaves_the_next_datagrams_in_the_queue() -> None:
    server = datagram_server(NONE, Answer)
    with socket.socket(type=socket.SOCK_DGRAM) as client:
        client.settimeout(STUCK)
        client.connect(server.server_address)
        for question in (b"a", b"stop", b"b"):
            client.send(question)
        server.serve_forever()
        assert server.stats().accepted == 2
        assert [client.recv(100) for _ in range(2)] == [b"a", b"stop"]
        with running(server):
            assert client.recv(100) == b"b"
