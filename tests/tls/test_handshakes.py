"""Where handshakes are made, and what those that come to nothing cost."""

import logging
import os
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from greensock.testing import running

from ..clients import clients, connect, eventually, receive_all
from ..separate_process import HERE, LIBUV, PATCHED, PATCHED_LATE, Templates
from ..server_kinds import (
    FORKING,
    GREENLET,
    MIXINS,
    NONE,
    THREADING,
    ClassicEcho,
    Echo,
    make_server,
)
from .certificates import (
    BioClient,
    TlsClient,
    early_context,
    server_context,
)

pytest_plugins = ["tests.alone"]

HELLO = b"\x16\x03\x01"


def tls_server(
    mixin: str, handler: Any = Echo, recipe: str = "attribute", **attributes: Any
) -> Any:
    if recipe == "wrapped":
        server = make_server(mixin, handler, **attributes)
        server.socket = server_context().wrap_socket(server.socket, server_side=True)
        return server
    context = early_context() if recipe == "early context" else server_context()
    return make_server(mixin, handler, ssl_context=context, **attributes)


def children() -> list[str]:
    with open(f"/proc/{os.getpid()}/task/{os.getpid()}/children", encoding="ascii") as file:
        return file.read().split()


def others_are_served(mixin: str, recipe: str) -> None:
    for handler in (Echo,) if mixin == NONE else (Echo, ClassicEcho):
        # On a busy machine the clients take longer than the handshake has usually.
        keep_nobody_waiting(tls_server(mixin, handler, recipe, handshake_timeout=60))


def keep_nobody_waiting(server: Any) -> None:
    with running(server) as address, ExitStack() as stack:
        silent, half_open, plain = stack.enter_context(clients(address, 3))
        half_open.sendall(HELLO)
        plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
        receive_all(plain)
        eventually(lambda: server.stats().handshakes_failed == 1)
        crowd = [stack.enter_context(TlsClient(address)) for _ in range(20)]
        assert [client.ask(b"x\n") for client in crowd] == [b"x\n"] * 20
        assert [client.ask(b"y\n") for client in reversed(crowd)] == [b"y\n"] * 20
        silent.setblocking(False)
        with pytest.raises(BlockingIOError):
            silent.recv(1)
        stats = server.stats()
        assert (stats.errors, stats.disconnects, stats.timeouts) == (0, 0, 0)


@pytest.mark.parametrize("mixin", MIXINS)
@pytest.mark.parametrize(
    ("mode", "recipe"),
    [
        (mode, recipe)
        for mode in (HERE, PATCHED, PATCHED_LATE, LIBUV)
        for recipe in ("attribute", "wrapped", "early context")
        # One of each: greensock finds out what is patched in one place for all recipes.
        if (mode, recipe) != (HERE, "early context")
        and (mode, recipe) != (PATCHED_LATE, "attribute")
        and (mode != LIBUV or recipe == "attribute")
    ],
)
def test_silent_and_broken_clients_keep_nobody_waiting(
    alone: Templates, mode: str, mixin: str, recipe: str
) -> None:
    alone(mode, others_are_served, mixin, recipe)


@pytest.fixture
def records() -> Iterator[list[logging.LogRecord]]:
    kept: list[logging.LogRecord] = []
    log = logging.getLogger("greensock.tls")
    handler = logging.Handler()
    handler.emit = kept.append  # type: ignore[method-assign]
    log.addHandler(handler)
    log.setLevel(logging.DEBUG)
    yield kept
    log.setLevel(logging.NOTSET)
    log.removeHandler(handler)


@pytest.mark.parametrize("mixin", MIXINS)
def test_handshake_timeout_counts_from_accept(
    serving: Any, mixin: str, records: list[logging.LogRecord], capfd: Any
) -> None:
    server = tls_server(mixin, handshake_timeout=0.3)
    address = serving(server)
    with connect(address) as silent, connect(address) as half_open, BioClient(address) as slow:
        half_open.sendall(HELLO)
        slow.try_to_shake_hands()  # and never goes on
        assert receive_all(silent) == b""
        assert receive_all(half_open) == b""
        receive_all(slow.plain)
        eventually(lambda: server.stats().handshakes_failed == 3)
        # A child's records are made in the child.
        if mixin != FORKING:
            assert [record.levelno for record in records] == [logging.DEBUG] * 3
        # A thread or child hangs up before it is counted as ended.
        eventually(lambda: server.stats().open == 0)
        assert server.stats().timeouts == server.stats().errors == 0
        with TlsClient(address) as client:
            assert client.ask(b"x\n") == b"x\n"
    assert capfd.readouterr().err == ""


def trickle(client: BioClient, data: bytes) -> None:
    for byte in data:
        client.plain.sendall(bytes([byte]))
        time.sleep(0.01)


def test_who_trickles_is_ended_in_time(serving: Any) -> None:
    server = tls_server(GREENLET, handshake_timeout=0.5)
    with BioClient(serving(server)) as client:
        with pytest.raises(ssl.SSLWantReadError):
            client.tls.do_handshake()
        hello = client.outgoing.read()
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            trickle(client, hello)
    eventually(lambda: server.stats().handshakes_failed == 1)


@pytest.mark.parametrize("mixin", MIXINS)
@pytest.mark.parametrize("handler", [Echo, ClassicEcho])
def test_silent_clients_hold_nothing(serving: Any, mixin: str, handler: Any) -> None:
    server = tls_server(mixin, handler)
    address = serving(server)
    threads, processes = threading.active_count(), children()
    with clients(address, 100) as crowd:
        eventually(lambda: server.stats().parked == 100)
        assert threading.active_count() == threads
        assert children() == processes
        if mixin == GREENLET:
            runner = server._greensock.runner
            eventually(lambda: runner.pool is None or runner.pool.busy == 0)
        assert all(request.ssl_object is None for request in server._greensock.run.lot.clients), (
            "no OpenSSL connection before the first byte"
        )
        if mixin == FORKING:
            return
        for client in crowd:
            client.sendall(HELLO)
        # Half open, they are parked again.
        eventually(
            lambda: (
                all(
                    request.ssl_object is not None
                    for request in list(server._greensock.run.lot.clients)
                )
                and server.stats().parked == 100
                and threading.active_count() == threads
            )
        )


def wrapped_while_it_serves(mixin: str) -> None:
    server = make_server(mixin, Echo)
    with running(server) as address, connect(address) as plain:
        plain.sendall(b"plain\n")
        assert plain.recv(100) == b"plain\n"
        server.socket = server_context().wrap_socket(server.socket, server_side=True)
        with (
            connect(address) as silent,
            TlsClient(address) as first,
            TlsClient(address) as last,
        ):
            assert first.ask(b"x\n") == b"x\n"
            assert last.ask(b"y\n") == b"y\n"
            plain.sendall(b"still plain\n")
            assert plain.recv(100) == b"still plain\n"
            silent.close()


@pytest.mark.parametrize("mixin", MIXINS)
@pytest.mark.parametrize("mode", [HERE, PATCHED])
def test_listener_may_be_wrapped_while_it_serves(alone: Templates, mode: str, mixin: str) -> None:
    alone(mode, wrapped_while_it_serves, mixin)


class Accepting:
    """A get_request of the program's own."""

    socket: Any

    def get_request(self) -> Any:
        request, address = self.socket.accept()
        return request, address


def own_get_request(mixin: str, recipe: str) -> None:
    server = tls_server(mixin, Echo, recipe)
    server.__class__ = type("Server", (Accepting, type(server)), {})
    with running(server) as address, connect(address), TlsClient(address) as client:
        assert client.ask(b"x\n") == b"x\n"


@pytest.mark.parametrize("recipe", ["attribute", "wrapped"])
@pytest.mark.parametrize("mixin", MIXINS)
@pytest.mark.parametrize("mode", [HERE, PATCHED])
def test_own_get_request_makes_no_handshake(
    alone: Templates, mode: str, mixin: str, recipe: str
) -> None:
    alone(mode, own_get_request, mixin, recipe)


def one_request(mixin: str) -> None:
    server = tls_server(mixin, ClassicEcho)
    answers = []

    def ask() -> None:
        with connect(server.server_address) as plain:
            plain.sendall(b"no TLS\n")
            receive_all(plain)
        with TlsClient(server.server_address) as client:
            answers.append(client.ask(b"x\n"))

    asking = threading.Thread(target=ask)
    asking.start()
    with server:
        server.handle_request()
        server.handle_request()
    asking.join()
    assert answers == [b"x\n"]
    if mixin != FORKING:
        assert server.stats().handshakes_failed == 1


@pytest.mark.parametrize("mixin", MIXINS)
@pytest.mark.parametrize("mode", [HERE, PATCHED])
def test_handle_request_makes_the_handshake(alone: Templates, mode: str, mixin: str) -> None:
    alone(mode, one_request, mixin)


class Greeting(Echo):
    """Speaks first."""

    def setup(self) -> None:
        super().setup()
        self.wfile.write(b"hello\n")


@pytest.mark.parametrize("wbufsize", [0, -1])
@pytest.mark.parametrize("mixin", MIXINS)
def test_handler_may_speak_first(serving: Any, mixin: str, wbufsize: int) -> None:
    handler = type("Greeting", (Greeting,), {"wbufsize": wbufsize})
    with TlsClient(serving(tls_server(mixin, handler))) as client:
        assert client.line() == b"hello\n"
        if not wbufsize:
            assert client.ask(b"x\n") == b"x\n"


@pytest.mark.parametrize("mixin", [GREENLET, THREADING, NONE])
def test_handshakes_under_load(serving: Any, mixin: str) -> None:
    """As many as come at once, half of them of clients who leave in the middle."""
    server = tls_server(mixin)
    address = serving(server)
    with ExitStack() as stack:
        crowd = [stack.enter_context(BioClient(address)) for _ in range(100)]
        for client in crowd:
            client.try_to_shake_hands()
        for client in crowd[::2]:
            client.close()
        for client in crowd[1::2]:
            client.shake_hands()
            client.plain.sendall(client.record(b"x\n"))
        assert [client.read() for client in crowd[1::2]] == [b"x\n"] * 50
        eventually(lambda: server.stats().parked == 50 == server.stats().open)
        assert server.stats().handshakes_failed == 50


@pytest.mark.parametrize("limit", [0, -1, "10", float("inf")])
def test_impossible_timeout_is_refused(limit: object) -> None:
    complaint = "handshake_timeout must be a positive number"
    with (
        tls_server(NONE, handshake_timeout=limit) as server,
        pytest.raises(ValueError, match=complaint),
    ):
        server.serve_forever()


def test_no_context_is_refused() -> None:
    complaint = r"ssl_context must be an ssl\.SSLContext"
    with (
        make_server(NONE, Echo, ssl_context="server.pem") as server,
        pytest.raises(TypeError, match=complaint),
    ):
        server.serve_forever()
