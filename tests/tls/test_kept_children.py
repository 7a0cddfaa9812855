"""ForkingMixIn with TLS: a client keeps its child, and what is asked of the child for it."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from greensock.testing import running

from ..clients import eventually, wait_until_silent
from ..separate_process import HERE, LIBUV, PATCHED, REPOSITORY, STUCK, UNPATCHED
from ..server_kinds import FORKING, ClassicEcho, Echo, Holding, in_each_process, make_server
from .certificates import NAME, BioClient, TlsClient, authority, server_context, write_pem

pytest_plugins = ["tests.alone"]


class Pid(Echo):
    """Answers with the process that it runs in."""

    def handle_one_request(self) -> None:
        self.rfile.readline()
        self.wfile.write(b"%d\n" % os.getpid())


def tls_server(handler: Any = Pid, **attributes: Any) -> Any:
    return make_server(FORKING, handler, ssl_context=server_context(), **attributes)


@contextlib.contextmanager
def tls_clients(address: Any, count: int) -> Iterator[list[TlsClient]]:
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(TlsClient(address, suppress_ragged_eofs=False))
            for _ in range(count)
        ]


class Goodbye(Pid):
    def setup(self) -> None:
        super().setup()
        self.last_words = b"goodbye\n"


def on_drain(self: Any, handler: Goodbye) -> None:
    handler.wfile.write(handler.last_words)


def drain_silent() -> None:
    """One who asked, one who has only shaken hands, one who has only begun to."""
    server = tls_server(Goodbye, on_drain=on_drain, handshake_timeout=None)
    with running(server) as address, tls_clients(address, 2) as (asking, greeted):
        asking.ask(b"x\n")
        with BioClient(address) as begun:
            begun.try_to_shake_hands()
            begun.pull()
            wait_until_silent(server, 3)
            report = server.drain(20)
            assert report[:3] == (0, 3, ())
            assert asking.line() == b"goodbye\n"
            for client in (asking, greeted):
                # The end of the stream, and no ragged one.
                assert client.line() in (b"", b"goodbye\n")
        assert server.stats().open == 0


@in_each_process
def test_silent_clients_are_closed_at_once(alone, mode: str) -> None:
    alone(mode, drain_silent)


def drain_busy() -> None:
    server = tls_server(Holding, on_drain=on_drain)
    with running(server) as address, tls_clients(address, 1) as (client,):
        assert client.ask(b"x\n") == b"begun\n"
        reports: list[Any] = []
        draining = threading.Thread(target=lambda: reports.append(server.drain(20)))
        draining.start()
        eventually(lambda: server.draining)
        assert client.ask(b"the end\n") == b"the end\n"
        assert client.line() == b""
        draining.join()
        assert reports[0][:3] == (1, 0, ())


@in_each_process
def test_busy_client_is_answered_first(alone, mode: str) -> None:
    alone(mode, drain_busy)


def close_while_silent(block_on_close: bool) -> None:
    server = tls_server(on_drain=on_drain, block_on_close=block_on_close)
    with running(server) as address, tls_clients(address, 2) as each:
        for client in each:
            client.ask(b"x\n")
        wait_until_silent(server, 2)
        server.server_close()
        for client in each:
            # Closed, not drained: as for parked clients, nobody says goodbye.
            assert client.line() == b""
        server.collect_children(blocking=True)


@pytest.mark.parametrize("mode", [UNPATCHED, PATCHED])
@pytest.mark.parametrize("block_on_close", [True, False])
def test_closing_does_not_wait_for_silent_clients(alone, mode: str, block_on_close: bool) -> None:
    alone(mode, close_while_silent, block_on_close)


def drain_after_serving() -> None:
    server = tls_server(Goodbye, on_drain=on_drain)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    with tls_clients(server.server_address, 1) as (client,):
        client.ask(b"x\n")
        wait_until_silent(server, 1)
        server.shutdown()
        thread.join()
        # Nobody is there to wait for others; this client still has its child.
        client.ask(b"x\n")
        wait_until_silent(server, 1)
        assert server.drain(20).cut == ()
        assert client.line() == b"goodbye\n"
        assert client.line() == b""
    server.server_close()


@pytest.mark.parametrize("mode", [UNPATCHED, PATCHED, LIBUV])
def test_server_that_serves_no_more_is_drained(alone, mode: str) -> None:
    alone(mode, drain_after_serving)


def make_room() -> None:
    """Who has been silent longest goes; who is busy stays."""
    server = tls_server(Holding, max_children=3, overflow="evict")
    with running(server) as address, tls_clients(address, 3) as (busy, first, second):
        children = server._greensock.runner.kept_children()
        for client, child in ((first, children[1]), (second, children[2])):
            wait_until_silent(server, 3)
            before = child.mark.silent_since
            assert client.ask(b"x\n") == b"begun\n"
            assert client.ask(b"y\n") == b"y\n"
            eventually(lambda child=child, before=before: child.mark.silent_since > before)
        assert busy.ask(b"x\n") == b"begun\n"
        with tls_clients(address, 1) as (late,):
            assert late.ask(b"x\n") == b"begun\n"
            assert first.line() == b""
            assert second.ask(b"x\n") == b"begun\n"
            # Now all three are busy: room is made once one of them is not.
            with BioClient(address) as later:
                later.try_to_shake_hands()
                eventually(lambda: server._greensock.run.ready)
                assert busy.ask(b"y\n") == b"y\n"
                assert busy.line() == b""
                later.shake_hands()
            assert late.ask(b"y\n") == b"y\n"
            assert second.ask(b"y\n") == b"y\n"
        assert server.stats().evicted == 2


@in_each_process
def test_silent_client_makes_room_if_told_to(alone, mode: str) -> None:
    alone(mode, make_room)


@pytest.mark.parametrize("overflow", ["pause", "reject"])
def test_silent_client_is_not_closed_for_another(overflow: str) -> None:
    server = tls_server(max_children=1, overflow=overflow)
    with running(server) as address, tls_clients(address, 1) as (client,):
        pid = client.ask(b"x\n")
        with BioClient(address) as waiting:
            waiting.try_to_shake_hands()
            eventually(lambda: server._greensock.run.ready)
            for _ in range(3):
                # Sent away, it would be answered once more at most.
                assert client.ask(b"x\n") == pid
            client.close()
            waiting.shake_hands()


@pytest.mark.parametrize("mode", [HERE, PATCHED])
@pytest.mark.parametrize(
    ("attributes", "timeout", "kind"),
    [({"idle_timeout": 0.1}, None, "idle"), ({}, 0.1, "handler")],
)
def test_silence_is_bounded_as_elsewhere(
    alone, mode: str, attributes: dict[str, Any], timeout: float | None, kind: str
) -> None:
    alone(mode, fall_silent, attributes, timeout, kind)


def fall_silent(attributes: dict[str, Any], timeout: float | None, kind: str) -> None:
    server = tls_server(type("Timed", (Pid,), {"timeout": timeout}), **attributes)
    with running(server) as address, tls_clients(address, 1) as (client,):
        client.ask(b"x\n")
        assert client.line() == b""
        eventually(lambda: server.stats().timeouts_by_kind == {kind: 1})
        assert server.stats().errors == 0


def test_handler_of_http_server_is_let_go_too() -> None:
    # Not above: scenarios of this module must leave their process without socketserver.
    from http.server import BaseHTTPRequestHandler

    class Page(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"x\n")

        def log_message(self, *args: object) -> None:
            pass

    server = tls_server(Page)
    with running(server) as address, tls_clients(address, 1) as (client,):
        client.tls.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 2)
        while client.line() != b"x\n":
            pass
        wait_until_silent(server, 1)
        assert server.drain(20)[:3] == (0, 1, ())


def test_client_in_its_own_handle_keeps_its_child() -> None:
    server = tls_server(ClassicEcho)
    with running(server) as address, tls_clients(address, 1) as (client,):
        assert client.ask(b"x\n") == b"x\n"
        assert server._greensock.runner.kept_children() == []
        client.close()


def test_idle_client_does_not_hold_up_sigterm(tmp_path: Any) -> None:
    path = write_pem(authority().issue_cert(NAME), tmp_path)
    command = [
        *(sys.executable, "-m", "greensock", "serve", "greensock.examples:Echo"),
        *("--bind", "127.0.0.1:0", "--mixin", "forking", "--tls-cert", str(path)),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) as process:
        assert process.stdout is not None
        port = process.stdout.readline().strip().rpartition(":")[2]
        with tls_clients(("127.0.0.1", int(port)), 1) as (client,):
            assert client.ask(b"x\n") == b"x\n"
            process.send_signal(signal.SIGTERM)
            # The drain's own deadline is 30 s.
            assert process.wait(STUCK) == 0
            assert client.line() == b""
