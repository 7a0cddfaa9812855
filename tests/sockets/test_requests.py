"""Requests, as handlers see and use them."""

import os
import select
import socket
from typing import Any, ClassVar

import pytest
from gevent import monkey

from greensock import (
    GreenletTCPServer,
)
from greensock.testing import running

from ..clients import answer_of, ask, clients, connect, eventually, receive_line
from ..separate_process import (
    HERE,
)
from ..server_kinds import (
    ANY_PORT,
    CONCURRENT,
    FORKING,
    ClassicEcho,
    Echo,
    everywhere,
    in_each_process,
    make_server,
    under_every_mixin,
)

pytest_plugins = ["tests.alone"]

OriginalSocket: Any = monkey.get_original("socket", "socket")


class Describing(Echo):
    """What programs ask of their request."""

    def handle_one_request(self) -> None:
        self.rfile.readline()
        request = self.request
        facts = [
            # A native thread's request is the standard library's, also where that name is gevent's.
            isinstance(request, (socket.socket, OriginalSocket)),
            request.family == socket.AF_INET,
            request.getpeername() == self.client_address,
            request.gettimeout() is None,
            bool(request.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)),
            bool(select.select([request], [request], [], 0)[1]),
        ]
        self.wfile.write(repr(facts).encode() + b"\n")


class ClassicDescribing(ClassicEcho):
    def handle(self) -> None:
        Describing.handle_one_request(self)  # type: ignore[arg-type]


def describe_request(mixin: str, handler: str) -> None:
    with running(make_server(mixin, globals()[handler])) as address:
        facts = answer_of(address, b"?\n")
        assert facts == repr([True] * 6).encode() + b"\n", facts


@everywhere
@under_every_mixin
@pytest.mark.parametrize("handler", ["Describing", "ClassicDescribing"])
def test_request_is_a_socket(alone, mode: str, mixin: str, handler: str) -> None:
    alone(mode, describe_request, mixin, handler)


class Bulk(ClassicEcho):
    """Receives and sends much more than the kernel buffers, with a timeout and without."""

    size: ClassVar[int] = 3_000_000

    def handle(self) -> None:
        for timeout in (None, 20):
            self.request.settimeout(timeout)
            data = b""
            while len(data) < self.size:
                data += self.request.recv(self.size)
            self.request.sendall(data)


def send_much(mixin: str) -> None:
    data = os.urandom(Bulk.size)
    with running(make_server(mixin, Bulk)) as address, connect(address) as client:
        for _ in range(2):
            client.sendall(data)
            received = bytearray()
            while len(received) < len(data):
                received += client.recv(1 << 20)
            assert bytes(received) == data


@everywhere
@under_every_mixin
def test_much_data_passes_whole(alone, mode: str, mixin: str) -> None:
    alone(mode, send_much, mixin)


class TimesOut(ClassicEcho):
    timeout = 0.02

    def handle(self) -> None:
        try:
            self.rfile.readline()
        except TimeoutError:
            self.wfile.write(b"too late\n")


def let_handler_time_out(mixin: str) -> None:
    with running(make_server(mixin, TimesOut)) as address, connect(address) as client:
        assert receive_line(client) == b"too late\n"


@everywhere
@under_every_mixin
def test_timeout_of_a_handler_is_its_requests(alone, mode: str, mixin: str) -> None:
    alone(mode, let_handler_time_out, mixin)


def ask_many_times(mixin: str) -> None:
    """Threads that touch sockets leave no descriptors, and make no hub."""
    import gc

    from gevent.hub import Hub

    with running(make_server(mixin, ClassicEcho)) as address:
        assert answer_of(address, b"x\n") == b"x\n"
        before = set(os.listdir("/proc/self/fd"))
        for _ in range(50 if mixin == FORKING else 200):
            assert answer_of(address, b"x\n") == b"x\n"
        eventually(lambda: len(os.listdir("/proc/self/fd")) <= len(before))
        hubs = [each for each in gc.get_objects() if type(each) is Hub]
        assert len(hubs) <= 1


@in_each_process
@pytest.mark.parametrize("mixin", CONCURRENT)
def test_requests_leave_no_descriptors_and_no_hubs(alone, mode: str, mixin: str) -> None:
    alone(mode, ask_many_times, mixin)


def reset_before_accept(mixin: str) -> None:
    server = make_server(mixin, Echo)
    client = connect(server.server_address)
    client.reset()
    with running(server) as address:
        assert answer_of(address, b"x\n") == b"x\n"
        eventually(lambda: server.stats().open == server.stats().parked)
        assert server.stats().errors == 0


@in_each_process
@under_every_mixin
def test_client_who_is_gone_before_accept_is_no_error(alone, mode: str, mixin: str) -> None:
    alone(mode, reset_before_accept, mixin)


def count_clients() -> None:
    server = GreenletTCPServer(ANY_PORT, Echo)
    with running(server) as address:
        with clients(address, 3) as each:
            for client in each:
                assert ask(client, b"x\n") == b"x\n"
            eventually(lambda: server.stats().parked == 3)
            assert server.stats().accepted == 3
            assert server.stats().open == 3
        eventually(lambda: server.stats().open == 0)
        assert server.stats().accepted == 3
        assert server.stats().disconnects == 0


def test_stats_count_clients(alone) -> None:
    alone(HERE, count_clients)
