"""The hooks that programs override, and `handle_request`."""

import socket
import threading
from typing import Any

import gevent
import pytest
from gevent import monkey

from greensock import (
    ForkingMixIn,
    GreenletMixIn,
    TCPServer,
    ThreadingMixIn,
)
from greensock.testing import running

from ..clients import answer_of, ask, clients, connect, eventually, receive_all
from ..server_kinds import (
    ANY_PORT,
    FORKING,
    GREENLET,
    HANDLERS,
    NONE,
    THREADING,
    Echo,
    everywhere,
    handlers,
    in_each_process,
    make_server,
    server_class,
    under_every_mixin,
)

pytest_plugins = ["tests.alone"]

OriginalSocket: Any = monkey.get_original("socket", "socket")


class AcceptsItself(TCPServer):
    """As programs write it who want to wrap or to log what they accept."""

    def get_request(self) -> Any:
        request, address = self.socket.accept()
        return request, address


def accept_oneself(mixin: str, handler: str) -> None:
    kind = type("Own", (AcceptsItself,), {})
    if mixin != NONE:
        mixed = {GREENLET: GreenletMixIn, THREADING: ThreadingMixIn, FORKING: ForkingMixIn}
        kind = type("Own", (mixed[mixin], AcceptsItself), {})
    with running(kind(ANY_PORT, HANDLERS[handler])) as address:
        with connect(address) as first, connect(address) as second:
            # One at a time without a mixin, for a handler with its own handle().
            if mixin != NONE or handler == "Echo":
                assert ask(second, b"2\n") == b"2\n"
            assert ask(first, b"1\n") == b"1\n"
            assert ask(first, b"1\n") == b"1\n"
        assert answer_of(address, b"3\n") == b"3\n"


@everywhere
@under_every_mixin
@handlers
def test_get_request_may_accept_by_itself(alone, mode: str, mixin: str, handler: str) -> None:
    alone(mode, accept_oneself, mixin, handler)


class Hooked:
    """In front of a server class: notes which hooks were called, in which order."""

    called: list[str]

    def verify_request(self, request: Any, client_address: Any) -> bool:
        self.called.append("verify_request")
        return bool(super().verify_request(request, client_address))  # type: ignore[misc]

    def process_request(self, request: Any, client_address: Any) -> None:
        self.called.append("process_request")
        super().process_request(request, client_address)  # type: ignore[misc]

    def finish_request(self, request: Any, client_address: Any) -> None:
        self.called.append("finish_request")
        super().finish_request(request, client_address)  # type: ignore[misc]

    def shutdown_request(self, request: Any) -> None:
        self.called.append("shutdown_request")
        super().shutdown_request(request)  # type: ignore[misc]

    def close_request(self, request: Any) -> None:
        self.called.append("close_request")
        super().close_request(request)  # type: ignore[misc]


def call_hooks(mixin: str, handler: str) -> None:
    base = server_class(mixin)
    server = type("Server", (Hooked, base), {"called": [], "linger": 0})(
        ANY_PORT, HANDLERS[handler]
    )
    with running(server) as address:
        assert answer_of(address, b"x\n") == b"x\n"
        if mixin == FORKING:
            eventually(lambda: server.active_children == set())
    expected = ["verify_request", "process_request", "finish_request", "shutdown_request"]
    # A child's calls are its own: the parent only lets go of its copy.
    if mixin == FORKING:
        expected = [each for each in server.called if each != "close_request"]
        assert expected[:2] == ["verify_request", "process_request"]
    assert server.called == [*expected, "close_request"]


@in_each_process
@under_every_mixin
@handlers
def test_hooks_are_called_once_a_client(alone, mode: str, mixin: str, handler: str) -> None:
    alone(mode, call_hooks, mixin, handler)


@under_every_mixin
def test_client_who_is_not_verified_is_closed(mixin: str) -> None:
    def verify_request(self: Any, request: Any, client_address: Any) -> bool:
        return request.recv(1) != b"!"

    with running(make_server(mixin, Echo, verify_request=verify_request)) as address:
        with connect(address) as refused:
            refused.sendall(b"!")
            assert receive_all(refused) == b""
        with connect(address) as welcome:
            assert ask(welcome, b".x\n") == b"x\n"


def block_in_hook(mixin: str) -> None:
    """A hook may wait as a handler may: other greenlets run meanwhile, and nobody is lost."""
    begun, go_on = threading.Event(), threading.Event()

    def verify_request(self: Any, request: Any, client_address: Any) -> bool:
        begun.set()
        while not go_on.is_set():
            gevent.sleep(0.001)
        return True

    server = make_server(mixin, Echo, verify_request=verify_request)
    with running(server) as address, clients(address, 3) as each:
        begun.wait()
        go_on.set()
        for client in each:
            assert ask(client, b"x\n") == b"x\n"


@in_each_process
@under_every_mixin
def test_hook_may_block(alone, mode: str, mixin: str) -> None:
    alone(mode, block_in_hook, mixin)


@pytest.mark.parametrize("mixin", [GREENLET, THREADING])
@handlers
def test_per_turn_hook_may_be_extended(mixin: str, handler: str) -> None:
    around: list[str] = []
    name = "process_request_greenlet" if mixin == GREENLET else "process_request_thread"
    base = server_class(mixin)

    def run(self: Any, request: Any, client_address: Any) -> None:
        around.append("before")
        try:
            getattr(base, name)(self, request, client_address)
        finally:
            around.append("after")

    server = make_server(mixin, HANDLERS[handler], linger=0.001, **{name: run})
    with running(server) as address:
        with connect(address) as client:
            assert ask(client, b"x\n") == b"x\n"
            assert ask(client, b"y\n") == b"y\n"
        eventually(lambda: len(around) % 2 == 0)
    assert around == ["before", "after"] * (len(around) // 2)
    assert around


@under_every_mixin
def test_finish_request_may_pass_more_to_the_handler(mixin: str) -> None:
    class Greeted(Echo):
        def __init__(self, *args: Any, greeting: bytes) -> None:
            self.greeting = greeting
            super().__init__(*args)

        def handle_one_request(self) -> None:
            self.rfile.readline()
            self.wfile.write(self.greeting + b"\n")

    def finish_request(self: Any, request: Any, client_address: Any) -> None:
        self.RequestHandlerClass(request, client_address, self, greeting=b"good day")

    server = make_server(mixin, Greeted, finish_request=finish_request)
    with running(server) as address, connect(address) as client:
        assert ask(client, b"x\n") == b"good day\n"
        assert ask(client, b"x\n") == b"good day\n"


def pace_service_actions(mixin: str) -> None:
    called = threading.Event()
    count = [0]

    def service_actions(self: Any) -> None:
        count[0] += 1
        if count[0] == 5:
            called.set()
        server_class(mixin).service_actions(self)

    server = make_server(mixin, Echo, service_actions=service_actions)
    with running(server, 0.01):
        called.wait()


@in_each_process
@under_every_mixin
def test_service_actions_are_called_though_nothing_happens(alone, mode: str, mixin: str) -> None:
    alone(mode, pace_service_actions, mixin)


@under_every_mixin
def test_process_request_that_fails_is_handled(mixin: str) -> None:
    seen: list[Any] = []

    def process_request(self: Any, request: Any, client_address: Any) -> None:
        raise LookupError("no")

    def handle_error(self: Any, request: Any, client_address: Any) -> None:
        seen.append(client_address)

    server = make_server(mixin, Echo, process_request=process_request, handle_error=handle_error)
    with running(server) as address, connect(address) as client:
        assert receive_all(client) == b""
        assert seen == [client.getsockname()]


def handle_one_by_one(mixin: str, handler: str) -> None:
    server = make_server(mixin, HANDLERS[handler])
    answers: list[bytes] = []

    def be_client() -> None:
        for _ in range(2):
            with connect(server.server_address) as client:
                client.sendall(b"x\n")
                client.shutdown(socket.SHUT_WR)
                answers.append(receive_all(client))

    asking = threading.Thread(target=be_client)
    asking.start()
    with server:
        server.handle_request()
        server.handle_request()
        while asking.is_alive():
            # Greenlets need their thread to wait cooperatively for something.
            gevent.sleep(0.001)
    asking.join()
    assert answers == [b"x\n", b"x\n"]


@in_each_process
@under_every_mixin
@handlers
def test_handle_request_handles_one(alone, mode: str, mixin: str, handler: str) -> None:
    alone(mode, handle_one_by_one, mixin, handler)


def time_out(mixin: str) -> None:
    timeouts: list[None] = []
    server = make_server(mixin, Echo, handle_timeout=lambda self: timeouts.append(None))
    with server:
        for timeout in (0.01, 0):
            server.timeout = timeout
            server.handle_request()
        server.timeout = 60
        server.socket.settimeout(0.01)
        server.handle_request()
    assert len(timeouts) == 3


@in_each_process
@under_every_mixin
def test_handle_request_times_out(alone, mode: str, mixin: str) -> None:
    alone(mode, time_out, mixin)
