"""rfile and wfile with attributes and methods of the program's own."""

import contextlib
import io
import socket
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from greensock import StreamRequestHandler
from greensock.files.streams import RequestWriter, SocketWriter
from greensock.sockets.lingering import LingeringSocket
from greensock.testing import running

from ..clients import ask, connect, exchange, receive_line, wait_until_parked
from ..separate_process import HERE, PATCHED
from ..server_kinds import FORKING, Echo, make_server, under_every_mixin

pytest_plugins = ["tests.alone"]

everywhere = pytest.mark.parametrize("mode", [HERE, PATCHED])


@contextlib.contextmanager
def pair() -> Iterator[tuple[Any, socket.socket]]:
    """A request socket, and its client."""
    here, there = socket.socketpair()
    request = LingeringSocket(fileno=here.detach())
    with request, there:
        yield request, there


@pytest.mark.parametrize("kind", ["request", "any", "buffered"])
def test_writer_takes_attributes(kind: str) -> None:
    with pair() as (request, client):
        kinds = {"request": RequestWriter, "any": SocketWriter}
        make = kinds.get(kind, lambda sock: sock.makefile("wb", 100))
        file, plain = make(request), make(request)
        write = file.write
        file.write = lambda data: write(data.upper())
        file.tag, file.tag2 = 1, 2
        file.tag = 3
        del file.tag2
        assert file.tag == 3
        assert vars(file).keys() == {"write", "tag"}
        for forbidden in (lambda: file.tag2, lambda: delattr(file, "tag2")):
            with pytest.raises(AttributeError):
                forbidden()
        with pytest.raises(AttributeError):
            file.closed = True
        file.write(b"a")
        file.writelines([b"b", b"c"])
        file.flush()
        file.close()
        assert file.closed
        assert file.tag == 3
        with pytest.raises(ValueError, match="closed file"):
            file.write(b"d")
        # Nobody else's are concerned, and it is what it was.
        assert type(plain).__name__ == type(file).__name__
        assert isinstance(file, SocketWriter)
        assert isinstance(file, io.BufferedIOBase)
        plain.write(b"e")
        plain.close()
        assert client.recv(100) == b"ABCe"


def test_reader_takes_attributes() -> None:
    with pair() as (request, client):
        client.sendall(b"one\ntwo\n")
        client.shutdown(socket.SHUT_WR)
        file = request.makefile("rb")
        readline = file.readline
        file.readline = lambda *size: readline(*size).upper()
        file.tag = "tag"
        assert file.peek()[:4] == b"one\n"
        assert list(file) == [b"ONE\n", b"TWO\n"]
        assert (file.tag, file.name, file.mode) == ("tag", request.fileno(), "rb")
        del file.readline
        assert file.readline() == b""
        with file:
            pass
        assert file.closed
        assert file.tag == "tag"


def test_file_without_attributes_has_no_room_for_them() -> None:
    with pair() as (request, _):
        for file in (request.makefile("rb"), SocketWriter(request), RequestWriter(request)):
            before = sys.getsizeof(file)
            assert not hasattr(file, "__dict__")
            file.tag = 1
            assert sys.getsizeof(file) == before
            file.close()


class Wrapped:
    """A file of the program's around another."""

    def __init__(self, file: Any) -> None:
        self.file = file
        self.written = 0

    def write(self, data: bytes) -> Any:
        self.written += len(data)
        return self.file.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


class CountingByMethod(Echo):
    """Counts what it writes from its first request on, and tells with each."""

    written = -1

    def handle_one_request(self) -> None:
        line = self.rfile.readline()
        if self.written < 0:
            self.written = 0
            write = self.wfile.write

            def counted(data: bytes) -> Any:
                self.written += len(data)
                return write(data)

            self.wfile.write = counted
        self.wfile.write(line)
        self.request.sendall(b"%d\n" % self.written)


class ShoutingByMethod(Echo):
    """Reads in upper case from its second request on."""

    def handle_one_request(self) -> None:
        readline = self.rfile.readline
        self.wfile.write(readline())
        if not hasattr(self.rfile, "shouts"):
            self.rfile.shouts = True
            self.rfile.readline = lambda *size: readline(*size).upper()


class CountingByFile(Echo):
    def handle_one_request(self) -> None:
        line = self.rfile.readline()
        if not isinstance(self.wfile, Wrapped):
            self.wfile = Wrapped(self.wfile)
        self.wfile.write(line)
        self.request.sendall(b"%d\n" % self.wfile.written)


def count_written(mixin: str, name: str) -> None:
    server = make_server(mixin, globals()[name], linger=0.001)
    with running(server) as address, connect(address) as client:
        for number in range(1, 4):
            exchange(client, b"12345\n", b"12345\n%d\n" % (6 * number))
            if mixin != FORKING:
                # What is written is nobody's but the client's: it can be parked.
                wait_until_parked(server, 1)


@everywhere
@under_every_mixin
@pytest.mark.parametrize("name", ["CountingByMethod", "CountingByFile"])
def test_what_is_put_over_wfile_is_there_in_later_requests(
    alone, mode: str, mixin: str, name: str
) -> None:
    alone(mode, count_written, mixin, name)


def shout(mixin: str) -> None:
    server = make_server(mixin, ShoutingByMethod, linger=0.001)
    with running(server) as address, connect(address) as client:
        assert [ask(client, b"x\n") for _ in range(4)] == [b"x\n", b"X\n", b"X\n", b"X\n"]


@everywhere
@under_every_mixin
def test_what_is_put_over_rfile_is_there_in_later_requests(alone, mode: str, mixin: str) -> None:
    alone(mode, shout, mixin)


class OwnFiles(StreamRequestHandler):
    """With a handle() of its own and files that are altered from the beginning."""

    def setup(self) -> None:
        super().setup()
        readline = self.rfile.readline
        self.rfile.readline = lambda *size: readline(*size).upper()
        self.wfile.tag = b"#"

    def handle(self) -> None:
        while line := self.rfile.readline():
            self.wfile.write(self.wfile.tag + line)


@pytest.mark.parametrize("wbufsize", [0, -1])
@pytest.mark.parametrize("rbufsize", [0, -1])
@under_every_mixin
def test_handler_of_its_own_may_alter_its_files(mixin: str, rbufsize: int, wbufsize: int) -> None:
    handler = type("Altering", (OwnFiles,), {"rbufsize": rbufsize, "wbufsize": wbufsize})
    with running(make_server(mixin, handler)) as address, connect(address) as client:
        client.sendall(b"hello\n")
        if wbufsize:
            client.shutdown(socket.SHUT_WR)
        assert receive_line(client) == b"#HELLO\n"
