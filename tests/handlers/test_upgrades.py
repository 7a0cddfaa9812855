"""A handler changes its connection, its files or its protocol, and is served on."""

import functools
import io
import socket
import ssl
import struct
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from greensock import KeepAliveRequestHandler
from greensock.testing import running

from ..clients import ask, connect, eventually, exchange, receive_line
from ..separate_process import HERE, NATIVE_THREADS, PATCHED, STUCK
from ..server_kinds import NONE, Echo, make_server, under_every_mixin
from ..tls.certificates import NAME, client_context, server_context

pytest_plugins = ["tests.alone"]

tls = functools.cache(server_context)


def secured(plain: socket.socket) -> ssl.SSLSocket:
    """A client's TLS connection; the plain one stays open, for it to be closed by."""
    sock: ssl.SSLSocket = client_context().wrap_socket(plain.dup(), server_hostname=NAME)
    sock.settimeout(STUCK)
    return sock


everywhere = pytest.mark.parametrize("mode", [HERE, PATCHED])


class Page(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.path)))
        self.end_headers()
        self.wfile.write(self.path.encode())

    def log_message(self, format: str, *args: Any) -> None:
        pass


def get(path: bytes, method: bytes = b"GET") -> bytes:
    return method + b" " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n"


class Intercepting(Page):
    """As proxies that look into TLS are written."""

    def do_CONNECT(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.connection = tls().wrap_socket(self.connection, server_side=True)
        self.rfile = self.connection.makefile("rb", self.rbufsize)
        self.wfile = self.connection.makefile("wb", self.wbufsize)
        self.close_connection = False

    def finish(self) -> None:
        super().finish()
        # Its own, of which the server knows nothing.
        self.connection.close()


class StartingTls(KeepAliveRequestHandler):
    """Lines, over TLS from the one that says so on."""

    def handle_one_request(self) -> None:
        line = self.rfile.readline()
        self.wfile.write(line)
        if line == b"STARTTLS\n":
            self.request = self.connection = tls().wrap_socket(self.connection, server_side=True)
            self.rfile = self.connection.makefile("rb", self.rbufsize)
            self.wfile = self.connection.makefile("wb", 0)

    def finish(self) -> None:
        super().finish()
        self.request.close()


class StartingTlsUnbuffered(StartingTls):
    rbufsize = 0


class StartingTlsByLine(StartingTls):
    request_terminator = b"\n"


def put_tls_on(mixin: str, name: str) -> None:
    tls()  # here, so that the client's is of the same authority
    server = make_server(mixin, globals()[name], linger=0.001)
    with running(server) as address, connect(address) as plain:
        if name == "Intercepting":
            exchange(plain, get(b"/before"), b"/before")
            exchange(plain, get(b"x:443", b"CONNECT"), b"\r\n\r\n")
            requests = [(get(b"/%d" % number), b"/%d" % number) for number in range(3)]
        else:
            assert ask(plain, b"before\n") == b"before\n"
            assert ask(plain, b"STARTTLS\n") == b"STARTTLS\n"
            requests = [(b"%d\n" % number, b"%d\n" % number) for number in range(3)]
        with secured(plain) as tunnel:
            for question, answer in requests:
                exchange(tunnel, question, answer)
            assert server.stats().parked == 0
            tunnel.shutdown(socket.SHUT_RDWR)
        eventually(lambda: server.stats().open == 0)


@pytest.mark.parametrize("mode", [HERE, PATCHED, NATIVE_THREADS])
@under_every_mixin
@pytest.mark.parametrize(
    "name", ["Intercepting", "StartingTls", "StartingTlsUnbuffered", "StartingTlsByLine"]
)
def test_tls_may_be_put_on_within_a_connection(alone, mode: str, mixin: str, name: str) -> None:
    alone(mode, put_tls_on, mixin, name)


class Switching(Page):
    """Speaks another protocol after an upgrade, in which it also speaks first."""

    def do_GET(self) -> None:
        if "Upgrade" not in self.headers:
            super().do_GET()
            return
        self.send_response(101)
        self.end_headers()
        self.close_connection = False
        self.count = 0
        self.handle_one_request = self.handle_frame  # type: ignore[method-assign]

    def handle_frame(self) -> None:
        """A length and that many bytes, none of them an end of line."""
        self.wfile.write(b"frame %d?" % self.count)
        size = self.rfile.read(4)
        if len(size) < 4:
            self.close_connection = True
            return
        self.count += 1
        self.wfile.write(self.rfile.read(*struct.unpack(">L", size)).upper())


class SwitchingClass(Switching):
    """Becomes another handler."""

    def do_GET(self) -> None:
        super().do_GET()
        if "Upgrade" in self.headers:
            del self.handle_one_request
            self.__class__ = Framed  # type: ignore[assignment]


class Framed(SwitchingClass):
    handle_one_request = Switching.handle_frame  # type: ignore[assignment]


class SwitchingLines(KeepAliveRequestHandler):
    """The same of a handler of lines, which never speaks first."""

    request_terminator = b"\n"

    def handle_one_request(self) -> None:
        line = self.rfile.readline()
        self.wfile.write(line)
        if line == b"BINARY\n":
            self.handle_one_request = self.handle_frame  # type: ignore[method-assign]

    def handle_frame(self) -> None:
        size = self.rfile.read(4)
        self.close_connection = len(size) < 4
        if not self.close_connection:
            self.wfile.write(self.rfile.read(*struct.unpack(">L", size)).upper())


def switch_protocol(mixin: str, name: str) -> None:
    server = make_server(mixin, globals()[name], linger=0.001)
    frames = [b"one", b"two" * 1000, b"three"]
    with running(server) as address, connect(address) as client:
        if name == "SwitchingLines":
            assert ask(client, b"BINARY\n") == b"BINARY\n"
        else:
            exchange(client, get(b"/before"), b"/before")
            upgrade = get(b"/").replace(b"\r\n\r\n", b"\r\nUpgrade: frames\r\n\r\n")
            exchange(client, upgrade, b"frame 0?")
        for number, frame in enumerate(frames):
            prompt = b"" if name == "SwitchingLines" else b"frame %d?" % (number + 1)
            exchange(client, struct.pack(">L", len(frame)) + frame, frame.upper() + prompt)


@everywhere
@under_every_mixin
@pytest.mark.parametrize("name", ["Switching", "SwitchingClass", "SwitchingLines"])
def test_another_protocol_may_be_spoken(alone, mode: str, mixin: str, name: str) -> None:
    alone(mode, switch_protocol, mixin, name)


class Prompting(Page):
    """Its requests begin with a word of its own, as nothing of http.server's does."""

    def handle_one_request(self) -> None:
        self.wfile.write(b"next?\n")
        super().handle_one_request()


@everywhere
@under_every_mixin
def test_http_handler_may_handle_one_request_in_its_way(alone, mode: str, mixin: str) -> None:
    alone(mode, be_prompted, mixin)


def be_prompted(mixin: str) -> None:
    server = make_server(mixin, Prompting, linger=0.001)
    with running(server) as address, connect(address) as client:
        assert receive_line(client) == b"next?\n"
        for number in range(3):
            exchange(client, get(b"/%d" % number), b"/%dnext?\n" % number)


class Framing:
    """A connection of the program's own: it takes more than it gives."""

    def __init__(self, sock: Any) -> None:
        self.sock = sock
        self.held = b""

    def receive(self) -> bytes:
        while b"." not in self.held:
            data = self.sock.recv(1000)
            if not data:
                return b""
            self.held += data
        frame, _, self.held = self.held.partition(b".")
        return frame

    def __getattr__(self, name: str) -> Any:
        return getattr(self.sock, name)


class OwnConnection(KeepAliveRequestHandler):
    """Once told to, reads by its own connection only."""

    def handle_one_request(self) -> None:
        if isinstance(self.connection, Framing):
            frame = self.connection.receive()
            self.close_connection = not frame
            self.wfile.write(frame + b"\n")
            return
        line = self.rfile.readline()
        self.wfile.write(line)
        if line == b"FRAMES\n":
            self.connection = Framing(self.connection)


class OwnReader(KeepAliveRequestHandler):
    """Once told to, reads by a file that takes more than it gives."""

    def handle_one_request(self) -> None:
        if not isinstance(self.rfile, io.BufferedReader):
            line = self.rfile.readline()
            self.wfile.write(line)
            if line == b"FRAMES\n":
                self.rfile = io.BufferedReader(socket.SocketIO(self.connection, "r"))
            return
        frame = b""
        while byte := self.rfile.read(1).strip(b"."):
            frame += byte
        self.wfile.write(frame + b"\n")


def take_more_than_is_given(mixin: str, name: str) -> None:
    server = make_server(mixin, globals()[name], linger=0.001)
    with running(server) as address, connect(address) as client:
        assert ask(client, b"line\n") == b"line\n"
        assert ask(client, b"FRAMES\n") == b"FRAMES\n"
        exchange(client, b"one.two.three.", b"one\ntwo\nthree\n")
        exchange(client, b"four.", b"four\n")


@everywhere
@under_every_mixin
@pytest.mark.parametrize("name", ["OwnConnection", "OwnReader"])
def test_handler_may_read_by_ways_of_its_own(alone, mode: str, mixin: str, name: str) -> None:
    alone(mode, take_more_than_is_given, mixin, name)


def attributes_of_tls(mixin: str) -> None:
    class Altering(Echo):
        def setup(self) -> None:
            super().setup()
            assert isinstance(self.request, ssl.SSLSocket)
            self.request.tag = b"tag "  # type: ignore[attr-defined]

        def handle_one_request(self) -> None:
            self.wfile.write(self.request.tag + self.rfile.readline())

    server = make_server(mixin, Altering, linger=0.001, ssl_context=tls())
    with running(server) as address, connect(address) as plain, secured(plain) as client:
        for _ in range(2):
            assert ask(client, b"x\n") == b"tag x\n"
        client.shutdown(socket.SHUT_RDWR)


@under_every_mixin
def test_tls_request_takes_attributes(mixin: str) -> None:
    attributes_of_tls(mixin)


def test_server_without_a_mixin_serves_others_once_an_altered_client_has_left() -> None:
    server = make_server(NONE, OwnReader)
    with running(server) as address, connect(address) as other:
        with connect(address) as client:
            assert ask(client, b"FRAMES\n") == b"FRAMES\n"
            exchange(client, b"one.", b"one\n")
            other.sendall(b"x\n")
        assert receive_line(other) == b"x\n"
