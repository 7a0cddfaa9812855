"""What a limit of time means: as for the standard library's sockets, whoever waits."""

import contextlib
import io
import os
import select
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from gevent import monkey

from greensock import KeepAliveRequestHandler, StreamRequestHandler
from greensock.testing import running

from ..clients import ask, connect, receive_all, receive_line
from ..separate_process import STUCK, Templates
from ..server_kinds import (
    FORKING,
    THREADING,
    Echo,
    make_server,
    patched_or_not,
    under_every_mixin,
)
from ..tls.certificates import TlsClient, server_context

pytest_plugins = ["tests.alone"]

OriginalSocket: Any = monkey.get_original("socket", "socket")

#: More than a client's kernel takes without a reader.
LARGE = bytes(3_000_000)
LIMIT = 0.3


class Telling(StreamRequestHandler):
    """Tells by a pipe, whichever process it is in, what has become of its `act`."""

    told: ClassVar[tuple[int, int]]

    def handle(self) -> None:
        try:
            outcome = repr(self.act())
        except OSError as error:
            outcome = type(error).__name__
        os.write(self.told[1], outcome.encode())

    def act(self) -> Any:
        raise NotImplementedError

    def finish(self) -> None:
        # What could not be written stays so.
        with contextlib.suppress(OSError):
            super().finish()


class told:
    """The pipe of those that tell, for a while."""

    def __enter__(self) -> int:
        Telling.told = os.pipe()
        return Telling.told[0]

    def __exit__(self, *args: object) -> None:
        for fd in Telling.told:
            os.close(fd)


class SendsAll(Telling):
    """One limit, for all of it."""

    timeout = LIMIT

    def act(self) -> Any:
        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        return self.send(LARGE)

    def send(self, data: bytes) -> Any:
        return self.request.sendall(data)


class SendsView(SendsAll):
    def send(self, data: bytes) -> Any:
        return self.request.sendall(memoryview(data))


class Writes(SendsAll):
    def send(self, data: bytes) -> Any:
        return self.wfile.write(data)


class Prints(SendsAll):
    def send(self, data: bytes) -> Any:
        text = io.TextIOWrapper(self.wfile, "ascii", write_through=True)
        return text.write(data.decode())


def report(reports: int) -> bytes:
    # Patched, a read of a pipe would keep the server from running.
    select.select([reports], [], [], STUCK)
    return os.read(reports, 100)


WAYS = {each.__name__: each for each in (SendsAll, SendsView, Writes, Prints)}


def read_slowly(client: Any, reports: int) -> bytes:
    """Read a little again and again, until there is a report."""
    client.settimeout(STUCK)
    while not select.select([reports], [], [], LIMIT / 10)[0]:
        client.recv(2000)
    return os.read(reports, 100)


def give_up_on_slow_reader(mixin: str, way: str, tls: bool) -> None:
    settings: dict[str, Any] = {"ssl_context": server_context()} if tls else {}
    with told() as reports, running(make_server(mixin, WAYS[way], **settings)) as address:
        if tls:
            with TlsClient(address) as client:
                assert read_slowly(client.tls, reports) == b"TimeoutError"
        else:
            with connect(address) as plain:
                assert read_slowly(plain, reports) == b"TimeoutError"


@patched_or_not
@under_every_mixin
@pytest.mark.parametrize("way", WAYS)
def test_sending_all_has_one_limit(alone: Templates, mode: str, mixin: str, way: str) -> None:
    alone(mode, give_up_on_slow_reader, mixin, way, False)


@patched_or_not
@under_every_mixin
@pytest.mark.parametrize("way", ["SendsAll", "SendsView"])
def test_sending_all_over_tls_has_one_limit(
    alone: Templates, mode: str, mixin: str, way: str
) -> None:
    alone(mode, give_up_on_slow_reader, mixin, way, True)


#: More than the reader below takes within the limit.
PARTS = LARGE[:2_000_000]


class Flushes(Telling):
    """A limit for each part that leaves, as a raw file's writes have."""

    # On a busy machine the reader below may stand still for as long as LIMIT.
    timeout = 3 * LIMIT
    wbufsize = len(LARGE)

    def act(self) -> Any:
        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        self.wfile.write(PARTS)
        return self.wfile.flush()


class SendsFile(Flushes):
    def act(self) -> Any:
        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        return self.request.sendfile(io.BytesIO(PARTS))


def bear_with_slow_reader(mixin: str, way: str) -> None:
    handler = {each.__name__: each for each in (Flushes, SendsFile)}[way]
    with (
        told() as reports,
        running(make_server(mixin, handler)) as address,
        socket.socket() as client,
    ):
        # With less, the kernel drops what finds no room, and waits by itself before it sends again.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        client.settimeout(STUCK)
        client.connect(address)
        got = 0
        give_up = time.monotonic() + 1.5 * Flushes.timeout
        while time.monotonic() < give_up:
            got += len(client.recv(16_000))
            time.sleep(LIMIT / 20)
        got += len(receive_all(client))
        assert got == len(PARTS)
        assert report(reports) in (b"None", b"%d" % len(PARTS))


@under_every_mixin
@pytest.mark.parametrize("way", ["Flushes", "SendsFile"])
def test_what_sends_in_parts_has_a_limit_for_each(mixin: str, way: str) -> None:
    bear_with_slow_reader(mixin, way)


# Limits that are socket options.

TENTH = struct.pack("@ll", 0, 100_000)


class Receives(Telling):
    def act(self) -> Any:
        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, TENTH)
        return self.receive()

    def receive(self) -> Any:
        return self.request.recv(10)


class ReceivesInto(Receives):
    def receive(self) -> Any:
        return self.request.recv_into(bytearray(10))


class ReceivesInherited(Receives):
    """The listener had it."""

    def act(self) -> Any:
        return self.receive()


class ReadsLine(Receives):
    def receive(self) -> Any:
        return self.rfile.readline()


class ReadsSome(Receives):
    def receive(self) -> Any:
        return self.rfile.read(10)


class Sends(Receives):
    """Nobody reads."""

    def act(self) -> Any:
        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, TENTH)
        return self.request.sendall(LARGE * 3)


class SendsSome(Receives):
    def act(self) -> Any:
        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, TENTH)
        return 0 < self.request.send(LARGE * 3) < 3 * len(LARGE)


OPTIONS = {
    Receives: b"BlockingIOError",
    ReceivesInto: b"BlockingIOError",
    ReceivesInherited: b"BlockingIOError",
    ReadsLine: b"b''",
    ReadsSome: b"None",
    Sends: b"BlockingIOError",
    SendsSome: b"True",
}


def heed_option(mixin: str, name: str) -> None:
    [(handler, outcome)] = [each for each in OPTIONS.items() if each[0].__name__ == name]
    server = make_server(mixin, handler)
    if handler is ReceivesInherited:
        server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, TENTH)
    with told() as reports, running(server) as address, connect(address):
        assert report(reports) == outcome


@patched_or_not
@under_every_mixin
@pytest.mark.parametrize("name", [each.__name__ for each in OPTIONS])
def test_limit_that_is_an_option_holds(alone: Templates, mode: str, mixin: str, name: str) -> None:
    alone(mode, heed_option, mixin, name)


class LimitedEcho(Echo):
    def setup(self) -> None:
        super().setup()
        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, TENTH)


def end_silent_client(mixin: str, *, inherits: bool) -> None:
    server = make_server(mixin, Echo if inherits else LimitedEcho)
    if inherits:
        server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, TENTH)
    with running(server) as address, connect(address) as client:
        assert ask(client, b"x\n") == b"x\n"
        assert client.recv(1) == b""


@patched_or_not
@under_every_mixin
@pytest.mark.parametrize("inherits", [False, True])
def test_limit_that_is_an_option_ends_a_parked_client(
    alone: Templates, mode: str, mixin: str, inherits: bool
) -> None:
    alone(mode, end_silent_client_scenario, mixin, inherits)


def end_silent_client_scenario(mixin: str, inherits: bool) -> None:
    end_silent_client(mixin, inherits=inherits)


# What a turn sets for its own waiting.

NO_LIMIT = bytes(16)


def limit_of(fd: int) -> bytes:
    with OriginalSocket(fileno=os.dup(fd)) as other:
        return bytes(other.getsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, 16))


def limit_of_dup(handler: Any) -> bytes:
    with handler.request.dup() as other:
        return bytes(other.getsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, 16))


def limit_in_program(handler: Any) -> bytes:
    command = "import socket, sys; s = socket.socket(fileno=0)\n"
    command += "sys.stdout.buffer.write(s.getsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, 16))"
    ran = subprocess.run(
        [sys.executable, "-c", command], stdin=handler.request, capture_output=True, check=True
    )
    return ran.stdout


SEEN_BY: dict[bytes, Callable[[Any], bytes]] = {
    b"fileno\n": lambda handler: limit_of(handler.request.fileno()),
    b"rfile\n": lambda handler: limit_of(handler.rfile.fileno()),
    b"dup\n": limit_of_dup,
    b"option\n": lambda handler: bytes(
        handler.request.getsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, 16)
    ),
    b"program\n": limit_in_program,
}


class Showing(KeepAliveRequestHandler):
    def handle_one_request(self) -> None:
        line = self.rfile.readline()
        seen = NO_LIMIT
        if line in SEEN_BY:
            seen = SEEN_BY[line](self)
        elif line == b"detach\n":
            with OriginalSocket(fileno=self.request.detach()) as other:
                seen = other.getsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, 16)
                other.sendall(b"%d\n" % any(seen))
            return
        self.wfile.write(b"%d\n" % any(seen))


@pytest.mark.parametrize("mixin", [THREADING, FORKING])
@pytest.mark.parametrize("way", [*SEEN_BY, b"detach\n"])
def test_waiting_for_the_next_request_leaves_no_limit(mixin: str, way: bytes) -> None:
    settings: dict[str, Any] = {"max_children": None} if mixin == FORKING else {}
    server = make_server(mixin, Showing, linger=STUCK, **settings)
    with running(server) as address, connect(address) as client:
        # The first two have the thread or child wait for the next by such a limit.
        assert [ask(client, line) for line in (b"x\n", b"x\n", way)] == [b"0\n"] * 3
        if way != b"detach\n":
            assert [ask(client, line) for line in (b"x\n", way)] == [b"0\n"] * 2


class ReadingByNumber(KeepAliveRequestHandler):
    """Asks for its number once, and reads by that for ever."""

    fd = -1

    def handle_one_request(self) -> None:
        if self.fd < 0:
            self.rfile.readline()
            self.fd = self.request.fileno()
            self.wfile.write(b"yes\n")
            return
        self.rfile.readline()
        self.wfile.write(b"go on\n")
        self.wfile.write(os.read(self.fd, 100))


def test_number_that_is_known_is_never_limited_again() -> None:
    server = make_server(THREADING, ReadingByNumber, linger=0.05)
    with running(server) as address, connect(address) as client:
        for line, answer in ((b"x\n", b"yes\n"), (b"x\n", b"go on\n")):
            assert ask(client, line) == answer
        # For longer than the thread would wait for a next request.
        time.sleep(0.2)
        client.sendall(b"late\n")
        assert receive_line(client) == b"late\n"
