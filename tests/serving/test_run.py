"""Servers with requests and sockets of their own, and where `serve_forever` may run."""

import os
import queue
import socket
import threading
from typing import Any

import gevent
import pytest
from gevent import monkey
from gevent.hub import get_hub

from greensock import (
    BaseRequestHandler,
    BaseServer,
    GreenletMixIn,
    TCPServer,
    ThreadingMixIn,
)
from greensock.testing import running

from ..clients import answer_of, ask, connect, eventually
from ..separate_process import LIBUV, NATIVE_THREADS, PATCHED, PATCHED_LIBUV, UNPATCHED
from ..server_kinds import (
    ANY_PORT,
    GREENLET,
    HANDLERS,
    MIXINS,
    NONE,
    THREADING,
    UNIX_STREAM,
    ClassicEcho,
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


class QueueServer(BaseServer):
    """Serves what is put into a queue; no descriptor says when."""

    def __init__(self, handler: Any) -> None:
        super().__init__("a queue", handler)
        self.requests: queue.Queue[Any] = queue.Queue()

    def get_request(self) -> Any:
        try:
            return self.requests.get_nowait(), "somebody"
        except queue.Empty:
            raise BlockingIOError from None


class EventServer(QueueServer):
    """The same, with a descriptor that becomes readable."""

    def __init__(self, handler: Any) -> None:
        super().__init__(handler)
        self.reader, self.writer = os.pipe()

    def fileno(self) -> int:
        return self.reader

    def get_request(self) -> Any:
        os.read(self.reader, 1)
        return super().get_request()

    def server_close(self) -> None:
        super().server_close()
        os.close(self.reader)
        os.close(self.writer)


class Answering(BaseRequestHandler):
    def handle(self) -> None:
        self.request.append("done")


MIXED: dict[str, tuple[type, ...]] = {
    NONE: (),
    GREENLET: (GreenletMixIn,),
    THREADING: (ThreadingMixIn,),
}


def serve_queue(mixin: str, base: str) -> None:
    kind: Any = type("Queued", (*MIXED[mixin], globals()[base]), {})
    server = kind(Answering)
    requests: list[list[str]] = [[], [], []]
    with running(server, 0.01):
        for request in requests:
            server.requests.put(request)
            if base == "EventServer":
                os.write(server.writer, b"x")
            eventually(lambda request=request: request == ["done"])


@in_each_process
@pytest.mark.parametrize("mixin", MIXED)
@pytest.mark.parametrize("base", ["QueueServer", "EventServer"])
def test_requests_may_come_from_a_queue(alone, mode: str, mixin: str, base: str) -> None:
    alone(mode, serve_queue, mixin, base)


def replace_socket(mixin: str) -> None:
    server = server_class(mixin)(ANY_PORT, Echo, bind_and_activate=False)
    assert server.fileno() >= 0
    server.socket.close()
    server.socket = socket.create_server(ANY_PORT)
    server.server_address = server.socket.getsockname()
    with running(server) as address, connect(address) as client:
        assert ask(client, b"x\n") == b"x\n"
        assert ask(client, b"y\n") == b"y\n"


@everywhere
@under_every_mixin
def test_socket_may_be_replaced(alone, mode: str, mixin: str) -> None:
    alone(mode, replace_socket, mixin)


def inherit_socket(mixin: str) -> None:
    original = socket.create_server(ANY_PORT)
    server = server_class(mixin)(original.getsockname(), ClassicEcho, bind_and_activate=False)
    server.socket.close()
    server.socket = socket.socket(fileno=original.detach())
    with running(server) as address:
        assert answer_of(address, b"x\n") == b"x\n"


@in_each_process
@under_every_mixin
def test_socket_may_be_inherited_by_number(alone, mode: str, mixin: str) -> None:
    alone(mode, inherit_socket, mixin)


@under_every_mixin
def test_binding_may_be_left_to_the_caller(mixin: str) -> None:
    server = server_class(mixin)(ANY_PORT, Echo, bind_and_activate=False)
    server.allow_reuse_address = True
    server.server_bind()
    server.server_activate()
    assert server.socket.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)
    with running(server):
        assert answer_of(server.server_address, b"x\n") == b"x\n"


def test_address_that_is_taken_leaves_no_socket() -> None:
    with TCPServer(ANY_PORT, Echo) as server, pytest.raises(OSError, match="in use"):
        TCPServer(server.server_address, Echo)


@pytest.mark.parametrize("mixin", MIXINS)
@pytest.mark.parametrize("handler", [Echo, ClassicEcho])
def test_unix_socket_is_served(mixin: str, handler: type, tmp_path: Any) -> None:
    path = str(tmp_path / "socket")
    with running(server_class(mixin, UNIX_STREAM)(path, handler)):
        assert answer_of(path, b"x\n") == b"x\n"
    os.unlink(path)


def serve_several_in_one_thread() -> None:
    """Servers in greenlets of one thread do not keep each other waiting."""
    servers = [make_server(mixin, Echo) for mixin in MIXINS]
    answers: list[bytes] = []

    def be_client() -> None:
        with connect(servers[0].server_address) as first:
            assert ask(first, b"first\n") == b"first\n"
            answers.extend(answer_of(server.server_address, b"x\n") for server in servers[1:])
            answers.append(ask(first, b"x\n"))
        for server in servers:
            server.shutdown()

    client = threading.Thread(target=be_client)
    client.start()
    serving = [gevent.spawn(server.serve_forever) for server in servers]
    gevent.joinall(serving, raise_error=True)
    client.join()
    for server in servers:
        server.server_close()
    assert answers == [b"x\n"] * 4


@pytest.mark.parametrize("mode", [UNPATCHED, PATCHED, LIBUV, PATCHED_LIBUV])
def test_one_thread_may_serve_several(alone, mode: str) -> None:
    alone(mode, serve_several_in_one_thread)


def serve_in_main_thread(mixin: str, handler: str) -> None:
    server = make_server(mixin, HANDLERS[handler])
    answers: list[bytes] = []

    def be_client() -> None:
        try:
            answers.extend(answer_of(server.server_address, line) for line in (b"1\n", b"2\n"))
        finally:
            server.shutdown()

    client = threading.Thread(target=be_client)
    client.start()
    with server:
        server.serve_forever()
    client.join()
    assert answers == [b"1\n", b"2\n"]


@pytest.mark.parametrize("mode", [UNPATCHED, PATCHED, NATIVE_THREADS, LIBUV, PATCHED_LIBUV])
@under_every_mixin
@handlers
def test_main_thread_may_serve(alone, mode: str, mixin: str, handler: str) -> None:
    alone(mode, serve_in_main_thread, mixin, handler)


def run_beside_others(mixin: str) -> None:
    """Other greenlets of the serving thread run, whatever the server waits for."""
    answers: list[int] = []

    class Beside(server_class(mixin)):  # type: ignore[misc]
        def serve_forever(self, poll_interval: float = 0.5) -> None:
            def tick() -> None:
                for number in range(5):
                    gevent.sleep(0.001)
                    answers.append(number)
                self.shutdown()

            ticking = gevent.spawn(tick)
            super().serve_forever(poll_interval)
            ticking.join()
            if threading.get_native_id() != os.getpid():
                get_hub().destroy(destroy_loop=True)

    server = Beside(ANY_PORT, Echo)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    thread.join()
    server.server_close()
    assert answers == [0, 1, 2, 3, 4]


@in_each_process
@under_every_mixin
def test_other_greenlets_run_while_a_server_waits(alone, mode: str, mixin: str) -> None:
    alone(mode, run_beside_others, mixin)
