"""ForkingMixIn: a child waits for what its client has begun, or keeps it while both live."""

import os
import threading
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from greensock import KeepAliveRequestHandler
from greensock.testing import running

from ..clients import (
    ask,
    clients,
    connect,
    eventually,
    exchange,
    receive_all,
    receive_line,
    wait_until_silent,
)
from ..separate_process import HERE, PATCHED
from ..server_kinds import FORKING, make_server

pytest_plugins = ["tests.alone"]

everywhere = pytest.mark.parametrize("mode", [HERE, PATCHED])


class Posting(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    def log_message(self, format: str, *args: Any) -> None:
        pass


class KeptPosting(Posting):
    def setup(self) -> None:
        super().setup()


HEAD = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n"


def send_late(name: str, linger: float) -> None:
    server = make_server(FORKING, globals()[name], linger=linger)
    with running(server) as address, connect(address) as client:
        for _ in range(3):
            client.sendall(HEAD)
            # The head has been taken by the child that now waits for the rest.
            eventually(lambda: server.active_children)
            threading.Event().wait(2 * linger + 0.05)
            client.sendall(b"abc" + HEAD[:20])
            assert client.recv(1000).endswith(b"\r\n\r\nabc")
            threading.Event().wait(2 * linger + 0.05)
            exchange(client, HEAD[20:] + b"def", b"def")


@everywhere
@pytest.mark.parametrize("linger", [0, 0.05])
@pytest.mark.parametrize("name", ["Posting", "KeptPosting"])
def test_rest_of_a_request_is_waited_for(alone, mode: str, name: str, linger: float) -> None:
    alone(mode, send_late, name, linger)


class Keeping(KeepAliveRequestHandler):
    """What its setup() has counted, its child goes on to count."""

    def setup(self) -> None:
        super().setup()
        self.count = 0

    def handle_one_request(self) -> None:
        self.rfile.readline()
        self.count += 1
        self.wfile.write(b"%d %d\n" % (self.count, os.getpid()))


def outlast(idle_timeout: float | None, handler: type) -> None:
    server = make_server(FORKING, handler, linger=0, idle_timeout=idle_timeout)
    with running(server) as address, connect(address) as client, connect(address) as silent:
        first, second = (ask(client, b"?\n").split() for _ in range(2))
        assert (first[0], second[0]) == (b"1", b"2")
        assert first[1] == second[1]
        assert receive_all(client) == b""
        assert receive_all(silent) == b""
        eventually(lambda: server.stats().open == 0)
        assert server.stats().timeouts == 2


@pytest.mark.parametrize("of", ["server", "handler"])
def test_child_that_keeps_its_client_keeps_it_no_longer_than_its_timeout(of: str) -> None:
    if of == "server":
        outlast(0.3, Keeping)
    else:
        outlast(None, type("Impatient", (Keeping,), {"timeout": 0.3}))


def test_child_that_keeps_its_client_makes_room_where_others_wait() -> None:
    server = make_server(FORKING, Keeping, linger=0, max_children=2, overflow="evict")
    with running(server) as address, clients(address, 2) as each:
        for client in each:
            assert receive_line_of(client)
        with connect(address) as newcomer:
            assert receive_line_of(newcomer)
            eventually(lambda: server.stats().evicted == 1)


def receive_line_of(client: Any) -> bytes:
    client.sendall(b"?\n")
    return receive_line(client)


@pytest.mark.parametrize("how", ["close", "drain"])
def test_child_that_keeps_its_client_sends_it_away_for_its_server(how: str) -> None:
    server = make_server(FORKING, Keeping, linger=0)
    with running(server) as address, connect(address) as client:
        assert receive_line_of(client)
        wait_until_silent(server, 1)
        if how == "close":
            server.server_close()
        else:
            assert server.drain(20)[:3] == (0, 1, ())
        assert receive_all(client) == b""
