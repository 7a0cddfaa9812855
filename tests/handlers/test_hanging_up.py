"""`handler.hang_up()`: from any greenlet or thread, on whoever is parked or busy."""

import contextlib
import gc
import socket
import threading
from typing import Any, ClassVar

import pytest

from greensock import KeepAliveRequestHandler, StreamRequestHandler
from greensock.testing import running

from ..clients import ask, connect, eventually, receive_all, wait_until_parked
from ..server_kinds import (
    FORKING,
    GREENLET,
    make_server,
    patched_or_not,
    under_every_mixin,
    without_children,
)
from ..tls.certificates import TlsClient, server_context

pytest_plugins = ["tests.alone"]


class Member(KeepAliveRequestHandler):
    """Is known by its name, and can be asked to hang up on another."""

    request_terminator = b"\n"
    members: ClassVar[dict[bytes, Any]] = {}
    left: ClassVar[list[bytes]] = []
    name = b""

    def handle_one_request(self) -> None:
        command, _, name = self.rfile.readline().strip().partition(b" ")
        if command == b"name":
            self.name = name
            self.members[name] = self
        elif command == b"end":
            self.members[name].hang_up()
        elif command == b"wait":
            self.rfile.readline()
        elif command == b"flood":
            while True:
                self.wfile.write(bytes(1 << 16))
        self.wfile.write(b"done\n")

    def finish(self) -> None:
        if self.name:
            self.left.append(self.name)
            # Of a parked client the connection is whole until here.
            with contextlib.suppress(OSError):
                self.wfile.write(b"goodbye\n")
        super().finish()


class Classic(StreamRequestHandler):
    """The same in a handle() of its own."""

    members: ClassVar[dict[bytes, Any]] = {}
    left: ClassVar[list[bytes]] = []

    def handle(self) -> None:
        name = self.rfile.readline().strip().removeprefix(b"name ")
        self.members[name] = self
        self.wfile.write(b"done\n")
        for line in self.rfile:
            self.wfile.write(line)
        self.left.append(name)


def new(handler: type) -> Any:
    """The class, with members of its own."""
    return type(handler.__name__, (handler,), {"members": {}, "left": []})


def hang_up_from_a_thread(handler: Any, times: int = 2) -> None:
    def hang_up() -> None:
        for _ in range(times):
            handler.hang_up()

    thread = threading.Thread(target=hang_up)
    thread.start()
    thread.join()


def ends_parked(mixin: str, where: str) -> None:
    handler = new(Member)
    server = make_server(mixin, handler, linger=0.001)
    with running(server) as address, connect(address) as one, connect(address) as two:
        assert ask(one, b"name one\n") == b"done\n"
        assert ask(two, b"name two\n") == b"done\n"
        wait_until_parked(server, 2)
        if where == "turn":
            assert ask(two, b"end one\n") == b"done\n"
            assert ask(two, b"end one\n") == b"done\n"
        else:
            hang_up_from_a_thread(handler.members[b"one"])
        assert receive_all(one) == b"goodbye\n"
        assert handler.left == [b"one"]
        assert ask(two, b"end one\n") == b"done\n"
        wait_until_parked(server, 1)
        assert server.stats().open == 1


@patched_or_not
@without_children
@pytest.mark.parametrize("where", ["turn", "thread"])
def test_parked_client_is_closed_through_finish(
    alone: Any, mode: str, mixin: str, where: str
) -> None:
    alone(mode, ends_parked, mixin, where)


def ends_busy(mixin: str, command: str) -> None:
    handler = new(Member)
    server = make_server(mixin, handler, linger=0.001)
    with running(server) as address, connect(address) as client:
        assert ask(client, b"name one\n") == b"done\n"
        client.sendall(command.encode() + b"\n")
        eventually(lambda: server.stats().busy == 1)
        if command == "flood":
            # The kernel's buffers are full, and the handler waits for a client who does not read.
            assert client.recv(1, socket.MSG_PEEK)
        hang_up_from_a_thread(handler.members[b"one"])
        eventually(lambda: handler.left == [b"one"])
        eventually(lambda: server.stats().open == 0)
        while client.recv(1 << 20):
            pass


@patched_or_not
@without_children
@pytest.mark.parametrize("command", ["wait", "flood"])
def test_busy_client_is_closed_through_finish(
    alone: Any, mode: str, mixin: str, command: str
) -> None:
    alone(mode, ends_busy, mixin, command)


@without_children
def test_client_of_a_handle_of_its_own_is_closed(mixin: str) -> None:
    handler = new(Classic)
    with running(make_server(mixin, handler)) as address, connect(address) as client:
        assert ask(client, b"name one\n") == b"done\n"
        hang_up_from_a_thread(handler.members[b"one"])
        assert receive_all(client) == b""
        eventually(lambda: handler.left == [b"one"])


@without_children
def test_parked_tls_client_has_its_goodbye(mixin: str) -> None:
    handler = new(Member)
    server = make_server(mixin, handler, linger=0.001, ssl_context=server_context())
    with running(server) as address, TlsClient(address) as client:
        assert client.ask(b"name one\n") == b"done\n"
        wait_until_parked(server, 1)
        hang_up_from_a_thread(handler.members[b"one"])
        # Ended by close_notify: anything else would be an error here.
        assert client.line() == b"goodbye\n"
        assert client.line() == b""


@without_children
def test_client_of_a_server_that_has_stopped(mixin: str) -> None:
    handler = new(Member)
    server = make_server(mixin, handler, linger=0.001)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    with connect(server.server_address) as client:
        assert ask(client, b"name one\n") == b"done\n"
        wait_until_parked(server, 1)
        server.shutdown()
        thread.join()
        handler.members[b"one"].hang_up()
        assert receive_all(client) == b""
        server.server_close()
        assert handler.left == [b"one"]


class Own(KeepAliveRequestHandler):
    """Hangs up on its own client, amid its turn."""

    others: ClassVar[list[Any]] = []

    def handle_one_request(self) -> None:
        line = self.rfile.readline()
        self.wfile.write(line)
        if line == b"end\n":
            self.hang_up()


@under_every_mixin
def test_own_client(mixin: str) -> None:
    with running(make_server(mixin, Own)) as address, connect(address) as client:
        assert ask(client, b"x\n") == b"x\n"
        assert ask(client, b"end\n") == b"end\n"
        assert receive_all(client) == b""


def test_child_cannot_hang_up_on_anothers_client() -> None:
    class Others(Own):
        def handle_one_request(self) -> None:
            self.rfile.readline()
            other = Own.__new__(Own)
            other.server, other.request = self.server, socket.socket()
            with other.request:
                try:
                    other.hang_up()
                except RuntimeError as error:
                    self.wfile.write(f"{error}\n".encode())

    with running(make_server(FORKING, Others)) as address, connect(address) as client:
        assert b"its own client only" in ask(client, b"x\n")


def test_nothing_is_kept_of_who_has_gone() -> None:
    handler = new(Member)
    server = make_server(GREENLET, handler)
    with running(server) as address:
        for _ in range(3):
            with connect(address) as client:
                assert ask(client, b"name one\n") == b"done\n"
                wait_until_parked(server, 1)
                handler.members[b"one"].hang_up()
                assert receive_all(client) == b"goodbye\n"
            # Of somebody whose descriptor's number is another client's by now.
            with connect(address) as other:
                assert ask(other, b"name other\n") == b"done\n"
                handler.members[b"one"].hang_up()
                assert ask(other, b"name other\n") == b"done\n"
        handler.members.clear()
    gc.collect()
