"""Half a request costs nobody anything: its client stays parked until the rest has come."""

import contextlib
import http.server
import re
import socket
import threading
from typing import Any

import pytest

from greensock import KeepAliveRequestHandler
from greensock.testing import running

from ..clients import (
    ask,
    clients,
    connect,
    eventually,
    receive_all,
    receive_line,
    wait_until_parked,
)
from ..server_kinds import (
    ANY_PORT,
    FORKING,
    Echo,
    everywhere,
    make_server,
    patched_or_not,
    under_every_mixin,
    without_children,
)

pytest_plugins = ["tests.alone"]

#: One may be busy, whatever it is that handlers run in.
ONE_AT_A_TIME = {"max_greenlets": 1, "max_threads": 1, "max_children": 1}


class Lines(Echo):
    request_terminator = b"\n"


class Paragraphs(KeepAliveRequestHandler):
    """Two newlines end a request; its size is the answer."""

    request_terminator = b"\n\n"

    def handle_one_request(self) -> None:
        size = 0
        while (line := self.rfile.readline()) not in (b"\n", b""):
            size += len(line)
        self.wfile.write(b"%d\n" % size)


class Page(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = self.path.encode() + b"\n"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def wait_until_received(server: Any, half: bytes, count: int = 1) -> None:
    """Until the server holds so many clients' `half` of a request."""

    def held() -> int:
        serving = server._greensock.run
        requests = [] if serving is None else list(serving.lot.clients)
        return sum(each.unread == half for each in requests)

    eventually(lambda: held() == count)


def keep_halves(mixin: str) -> None:
    server = make_server(mixin, Lines, linger=0, **ONE_AT_A_TIME)
    with running(server) as address, clients(address, 5) as slow, connect(address) as other:
        for client in slow:
            client.sendall(b"ha")
        wait_until_received(server, b"ha", 5)
        for client in slow:
            client.sendall(b"lf")
        wait_until_received(server, b"half", 5)
        assert ask(other, b"whole\n") == b"whole\n"
        wait_until_parked(server, 6)
        for client in slow:
            assert ask(client, b" a line\n") == b"half a line\n"
        assert ask(other, b"and another\n") == b"and another\n"
        for client in slow:
            assert ask(client, b"once more\n") == b"once more\n"


@everywhere
@under_every_mixin
def test_half_a_line_keeps_nobody_busy(alone, mode: str, mixin: str) -> None:
    alone(mode, keep_halves, mixin)


class OwnSetupLines(Lines):
    """Made before its client has spoken."""

    def setup(self) -> None:
        super().setup()
        self.wfile.write(b"hello\n")


def keep_half_that_came_at_once(mixin: str, handler: str) -> None:
    kind = {"Lines": Lines, "OwnSetupLines": OwnSetupLines}[handler]
    server = make_server(mixin, kind, linger=0, **ONE_AT_A_TIME)
    with contextlib.ExitStack() as stack:
        stack.enter_context(server)
        slow = [stack.enter_context(connect(server.server_address)) for _ in range(3)]
        # There before they are accepted.
        for client in slow:
            client.sendall(b"half")
        address = stack.enter_context(running(server))
        wait_until_received(server, b"half", 3)
        wait_until_parked(server, 3)
        other = stack.enter_context(connect(address))
        for client in (other, *slow):
            if kind is OwnSetupLines:
                assert receive_line(client) == b"hello\n"
        assert ask(other, b"whole\n") == b"whole\n"
        for client in slow:
            assert ask(client, b" a line\n") == b"half a line\n"


@patched_or_not
@under_every_mixin
def test_half_a_line_that_came_at_once_keeps_nobody_busy(alone: Any, mode: str, mixin: str) -> None:
    alone(mode, keep_half_that_came_at_once, mixin, "Lines")


@patched_or_not
@without_children
def test_half_a_line_is_kept_for_a_handler_that_is_there(alone: Any, mode: str, mixin: str) -> None:
    alone(mode, keep_half_that_came_at_once, mixin, "OwnSetupLines")


def follow_whole_with_half(mixin: str) -> None:
    server = make_server(mixin, Lines, linger=5.0, **ONE_AT_A_TIME)
    with running(server) as address, connect(address) as slow, connect(address) as other:
        assert ask(slow, b"one\ntwo\nhalf") == b"one\n"
        assert receive_line(slow) == b"two\n"
        wait_until_received(server, b"half")
        assert ask(other, b"whole\n") == b"whole\n"
        assert ask(slow, b" a line\n") == b"half a line\n"


@everywhere
@without_children
def test_half_a_line_behind_a_whole_one_keeps_nobody_busy(alone, mode: str, mixin: str) -> None:
    alone(mode, follow_whole_with_half, mixin)


@under_every_mixin
def test_a_byte_at_a_time_is_a_line_in_the_end(mixin: str) -> None:
    with running(make_server(mixin, Paragraphs)) as address, connect(address) as client:
        for _ in range(2):
            for byte in b"one\ntwo\n":
                client.sendall(bytes((byte,)))
            assert ask(client, b"\n") == b"8\n"
        assert ask(client, b"x" * 40_000 + b"\n\n") == b"40001\n"
        client.sendall(b"1\n\n22\n\n333\n\n")
        assert [receive_line(client) for _ in range(3)] == [b"2\n", b"3\n", b"4\n"]


@under_every_mixin
def test_what_came_before_the_end_of_the_stream_is_handled(mixin: str) -> None:
    with running(make_server(mixin, Lines)) as address, connect(address) as client:
        client.sendall(b"whole\nhalf")
        client.shutdown(socket.SHUT_WR)
        assert receive_all(client) == b"whole\nhalf"


@under_every_mixin
def test_who_leaves_amid_a_line_is_gone(mixin: str) -> None:
    server = make_server(mixin, Lines)
    with running(server) as address, connect(address) as first, connect(address) as second:
        for client in (first, second):
            client.sendall(b"half")
        wait_until_received(server, b"half", 2)
        first.reset()
        second.close()
        eventually(lambda: server.stats().open == 0)


@pytest.mark.expect_warnings("a line of more than 100 bytes")
@without_children
def test_line_without_end_ends_its_client(mixin: str) -> None:
    class Short(Lines):
        max_line_size = 100

    with running(make_server(mixin, Short)) as address, connect(address) as client:
        assert ask(client, b"x" * 99 + b"\n") == b"x" * 99 + b"\n"
        client.sendall(b"x" * 101)
        assert receive_all(client) == b""


@under_every_mixin
def test_drain_lets_a_client_finish_its_line(mixin: str) -> None:
    server = make_server(mixin, Lines, **ONE_AT_A_TIME)
    with running(server) as address, connect(address) as client:
        client.sendall(b"half")
        wait_until_received(server, b"half")
        report = []
        thread = threading.Thread(target=lambda: report.append(server.drain(timeout=30.0)))
        thread.start()
        eventually(lambda: server.draining)
        client.sendall(b" a line\n")
        assert receive_all(client) == b"half a line\n"
        thread.join()
        assert (report[0].parked, report[0].cut) == (0, ())


def serve_slow_heads(mixin: str) -> None:
    server = make_server(mixin, Page, linger=0, **ONE_AT_A_TIME)
    half = b"GET /slow HTTP/1.1\r\nHost: x\r\n"
    with running(server) as address, clients(address, 3) as slow, connect(address) as other:
        for client in slow:
            client.sendall(half)
        wait_until_received(server, half, 3)
        other.sendall(b"GET /quick HTTP/1.1\r\nHost: x\r\n\r\n")
        while receive_line(other) != b"/quick\n":
            pass
        for client in slow:
            client.sendall(b"X-Later: y\r\n\r\n")
            while receive_line(client) != b"/slow\n":
                pass


@everywhere
@under_every_mixin
def test_half_a_head_keeps_nobody_busy(alone, mode: str, mixin: str) -> None:
    alone(mode, serve_slow_heads, mixin)


NO_HEADS = {
    "one word": b"nonsense\r\n",
    "nothing": b"\r\n",
    "not GET": b"POST /\r\n",
    "another version": b"GET / HTTP/2.0\r\n",
    "no version": b"GET / HTTP/1.x\r\n",
    "long version": b"GET / HTTP/1.12345678901\r\n",
    "a word more": b"GET / HTTP/1.1 more\r\n",
    "version amid": b"GET HTTP/1.1 /\r\n",
    "long line": b"GET /" + b"x" * 65_600,
    "long header": b"GET / HTTP/1.1\r\nX: " + b"x" * 65_600,
    "many headers": b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 101,
    "after a request": b"GET / HTTP/1.1\r\n\r\nGET / HTTP/3.0\r\n",
}


def last_answer(address: Any, head: bytes) -> bytes:
    """The last first line of an answer to what is no whole request, and never will be."""
    with connect(address) as client:
        client.sendall(head)
        try:
            answers = receive_all(client)
        except ConnectionResetError:
            # Of what was not read.
            return b""
        return answers[answers.rfind(b"HTTP/1.") :].partition(b"\r\n")[0]


@under_every_mixin
def test_what_is_no_head_is_answered_at_once(mixin: str) -> None:
    """As http.server on the standard library's own sockets does."""
    with (
        running(make_server(mixin, Page)) as address,
        http.server.ThreadingHTTPServer(ANY_PORT, Page) as theirs,
    ):
        thread = threading.Thread(target=theirs.serve_forever, args=(0.01,))
        thread.start()
        try:
            for name, head in NO_HEADS.items():
                assert last_answer(address, head) == last_answer(theirs.server_address, head), name
        finally:
            theirs.shutdown()
            thread.join()


def test_head_may_end_in_plain_newlines() -> None:
    with running(make_server(FORKING, Page)) as address, connect(address) as client:
        client.sendall(b"GET /plain HTTP/1.0\nHost: x\n\n")
        assert receive_all(client).endswith(b"/plain\n")


@pytest.mark.parametrize("terminator", [b"", "\n", 10])
def test_terminator_is_bytes(terminator: Any) -> None:
    said = re.escape(f"request_terminator must be bytes or None, not {terminator!r}")
    with pytest.raises(ValueError, match=said):
        type("Wrong", (Echo,), {"request_terminator": terminator})


def accept_silent(mixin: str, handler: str) -> None:
    """With a timeout of the handler's, the C level waits whatever the flags of a call say."""
    kind = {"Echo": Echo, "Lines": Lines}[handler]
    patient = type("Patient", (kind,), {"timeout": 3600.0})
    with running(make_server(mixin, patient)) as address, clients(address, 3) as silent:
        with connect(address) as client:
            assert ask(client, b"x\n") == b"x\n"
        for client in silent:
            assert ask(client, b"y\n") == b"y\n"


@everywhere
@under_every_mixin
@pytest.mark.parametrize("handler", ["Echo", "Lines"])
def test_silent_newcomers_with_a_timeout_keep_nobody_waiting(
    alone, mode: str, mixin: str, handler: str
) -> None:
    alone(mode, accept_silent, mixin, handler)
