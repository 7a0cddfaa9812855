"""Clients who are silent, who never read, or who never end their line; and keep-alive."""

import contextlib
import os
import re
import select
import socket
import time
from typing import Any, ClassVar

import gevent
import gevent.socket
import pytest

import greensock
from greensock import KeepAliveRequestHandler, LineTooLong
from greensock.examples import Upper
from greensock.testing import running

from ..clients import (
    ask,
    connect,
    eventually,
    is_kept_while_it_speaks,
    receive_all,
    receive_line,
    wait_until_parked,
)
from ..separate_process import HERE, PATCHED
from ..server_kinds import (
    ANY_PORT,
    CONCURRENT,
    FORKING,
    GREENLET,
    HANDLERS,
    MIXINS,
    NONE,
    UNIX_STREAM,
    Echo,
    make_server,
    patched_or_not,
    server_class,
    under_every_mixin,
    without_children,
)

pytest_plugins = ["tests.alone"]


IDLE = 0.2


def outlast_idle_timeout(mixin: str, handler: str) -> None:
    server = make_server(mixin, HANDLERS[handler], idle_timeout=IDLE, linger=0.001)
    with running(server) as address:
        with connect(address) as mute, connect(address) as client:
            begun = time.monotonic()
            if handler == "Echo" or mixin != NONE:
                assert ask(client, b"x\n") == b"x\n"
            assert receive_all(client) == b""
            assert time.monotonic() - begun >= IDLE * 0.9
            assert receive_all(mute) == b""
        eventually(lambda: server.stats().open == 0)
        if mixin != FORKING:
            assert server.stats().timeouts_by_kind == {"idle": 2}
        eventually(lambda: is_kept_while_it_speaks(address, IDLE))
    assert server.stats().errors == 0


@patched_or_not
@under_every_mixin
@pytest.mark.parametrize("handler", HANDLERS)
def test_idle_client_is_closed(alone, mode: str, mixin: str, handler: str) -> None:
    alone(mode, outlast_idle_timeout, mixin, handler)


class Known(Echo):
    instances: ClassVar[list["Known"]] = []

    def setup(self) -> None:
        super().setup()
        self.instances.append(self)


@without_children
def test_client_who_is_written_to_is_not_idle(mixin: str) -> None:
    server = make_server(mixin, Known, idle_timeout=IDLE, linger=0.001)
    with running(server) as address:
        eventually(lambda: hears_news_while_parked(server, address))


def hears_news_while_parked(server: Any, address: Any) -> bool:
    """Write to a client beyond the timeout; False where the machine was too busy to do so."""
    Known.instances = []
    with connect(address) as client:
        assert ask(client, b"x\n") == b"x\n"
        wait_until_parked(server, 1)
        told = time.monotonic()
        end = told + 3 * IDLE
        while time.monotonic() < end:
            before, told = told, time.monotonic()
            with contextlib.suppress(OSError, ValueError):
                Known.instances[0].wfile.write(b"news\n")
            if receive_line(client) != b"news\n":
                assert time.monotonic() - before >= IDLE, "closed, and was not idle"
                return False
            time.sleep(IDLE / 10)
        assert receive_all(client) == b""
    eventually(lambda: server.stats().open == 0)
    return True


@under_every_mixin
def test_idle_timeout_set_while_serving_holds_for_who_is_parked(mixin: str) -> None:
    server = make_server(mixin, Echo, linger=0.001)
    with running(server) as address, connect(address) as client:
        assert ask(client, b"x\n") == b"x\n"
        wait_until_parked(server, 1)
        server.idle_timeout = IDLE
        assert receive_all(client) == b""
        server.idle_timeout = None
        with connect(address) as other:
            time.sleep(2 * IDLE)
            assert ask(other, b"x\n") == b"x\n"


def test_handlers_own_timeout_ends_its_client_sooner() -> None:
    class Impatient(Echo):
        timeout = 0.05

    server = make_server(GREENLET, Impatient, idle_timeout=60)
    with running(server) as address, connect(address) as client:
        assert ask(client, b"x\n") == b"x\n"
        assert receive_all(client) == b""
    assert server.stats().timeouts_by_kind == {"handler": 1}


class Torrent(Echo):
    """Sends without end."""

    def handle_one_request(self) -> None:
        self.rfile.readline()
        while True:
            self.wfile.write(b"x" * 65536)


def never_read(mixin: str) -> None:
    server = make_server(mixin, Torrent, write_timeout=0.1)
    with running(server) as address, connect(address) as deaf:
        deaf.sendall(b"x\n")
        eventually(lambda: server.stats().accepted == 1 and server.stats().open == 0)
    if mixin != FORKING:
        assert server.stats().timeouts_by_kind == {"write": 1}
        assert server.stats().errors == 0


@pytest.mark.parametrize(
    ("mode", "mixin"), [*((HERE, mixin) for mixin in MIXINS), (PATCHED, GREENLET)]
)
def test_client_who_never_reads_is_closed(alone, mode: str, mixin: str) -> None:
    alone(mode, never_read, mixin)


def send_endless_line(mixin: str, handler: str) -> None:
    server = make_server(mixin, {"Echo": Echo, "Short": Short}[handler])
    limit = {"Echo": 65536, "Short": 10}[handler]
    with running(server) as address:
        with connect(address) as client:
            line = b"x" * (limit - 1) + b"\n"
            client.sendall(line)
            assert receive_line(client) == line
            try:
                for _ in range(1000):
                    client.sendall(b"x" * 65536)
                raise AssertionError("64 MB of one line were taken")
            except ConnectionError:
                pass
        with connect(address) as other:
            assert ask(other, b"y\n") == b"y\n"
        eventually(lambda: server.stats().open == 0)


class Short(Echo):
    max_line_size = 10


@pytest.mark.expect_warnings("a line of more than (65536|10) bytes")
@pytest.mark.parametrize(
    ("mode", "mixin"),
    [*((HERE, mixin) for mixin in MIXINS), (PATCHED, GREENLET), (PATCHED, FORKING)],
)
@pytest.mark.parametrize("handler", ["Echo", "Short"])
def test_endless_line_ends_its_client_with_a_record(
    alone, mode: str, mixin: str, handler: str
) -> None:
    alone(mode, send_endless_line, mixin, handler)


def test_handler_may_answer_a_line_that_is_too_long() -> None:
    class Answering(Short):
        def handle_one_request(self) -> None:
            try:
                self.wfile.write(self.rfile.readline())
            except LineTooLong as error:
                self.wfile.write(f"{error}\n".encode())

    with running(make_server(GREENLET, Answering)) as address, connect(address) as client:
        assert ask(client, b"0123456789\n").startswith(b"a line of more than 10 bytes")


def test_line_of_the_greatest_size_is_taken_and_sizes_of_ones_own_are_let_be() -> None:
    class Sized(Short):
        def handle_one_request(self) -> None:
            self.wfile.write(self.rfile.readline(20))

    with running(make_server(GREENLET, Sized)) as address, connect(address) as client:
        assert ask(client, b"0123456789abcdef\n") == b"0123456789abcdef\n"
    with running(make_server(GREENLET, Short)) as address, connect(address) as client:
        assert ask(client, b"012345678\n") == b"012345678\n"


@pytest.mark.parametrize("size", [0, -1, "10", True])
def test_size_that_is_none_is_refused_where_the_class_is_made(size: Any) -> None:
    message = f"max_line_size must be a positive integer or None, not {size!r}"
    with pytest.raises(ValueError, match=re.escape(message)):
        type("Wrong", (KeepAliveRequestHandler,), {"max_line_size": size})


class TellsOptions(Echo):
    def handle_one_request(self) -> None:
        self.rfile.readline()
        sock = self.request
        found = [
            sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
            *(
                sock.getsockopt(socket.IPPROTO_TCP, option)
                for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
            ),
        ]
        self.wfile.write(f"{found}\n".encode())


def tell_options(mixin: str) -> None:
    with running(make_server(mixin, TellsOptions)) as address, connect(address) as client:
        assert ask(client, b"?\n") == b"[1, 60, 10, 3]\n"
    server = make_server(mixin, TellsOptions, tcp_keepalive=None)
    with running(server) as address, connect(address) as client:
        assert ask(client, b"?\n").startswith(b"[0, ")


@patched_or_not
@under_every_mixin
def test_accepted_clients_are_probed(alone, mode: str, mixin: str) -> None:
    alone(mode, tell_options, mixin)


def test_unix_sockets_have_no_tcp_options(tmp_path: Any) -> None:
    path = str(tmp_path / "socket")
    kind = type("Timed", (server_class(GREENLET, UNIX_STREAM),), {"idle_timeout": IDLE})
    with running(kind(path, Echo)), connect(path) as client:
        assert ask(client, b"x\n") == b"x\n"
        assert receive_all(client) == b""
    (tmp_path / "socket").unlink()


@pytest.mark.parametrize("mixin", CONCURRENT)
def test_a_thousand_idle_clients_end_in_time_and_a_busy_one_does_not(mixin: str) -> None:
    """It waits for something else than its client."""

    class Waits(Echo):
        def handle_one_request(self) -> None:
            line = self.rfile.readline()
            if mixin == GREENLET:
                gevent.socket.wait_read(waited_for)
            else:
                select.select([waited_for], [], [])
            self.wfile.write(line)
            self.close_connection = True

    waited_for, let_go = os.pipe()
    server = make_server(mixin, Waits, idle_timeout=IDLE, linger=0)
    with running(server) as address, connect(address) as busy:
        busy.sendall(b"wait\n")
        idle = [connect(address) for _ in range(300)]
        for client in idle:
            assert receive_all(client) == b""
            client.close()
        eventually(lambda: server.stats().open == 1)
        os.write(let_go, b"!")
        assert receive_line(busy) == b"wait\n"
    assert server.stats().timeouts == 300
    os.close(waited_for)
    os.close(let_go)


def test_datagram_servers_know_the_settings_and_ignore_them() -> None:
    kind: Any = type("Limited", (greensock.GreenletUDPServer,), {"max_connections": 1})
    with (
        running(kind(ANY_PORT, Upper)) as address,
        socket.socket(type=socket.SOCK_DGRAM) as client,
    ):
        client.settimeout(20)
        for _ in range(3):
            client.sendto(b"x", address)
            assert client.recv(10) == b"X"
