"""Requests of Unix sockets and of other kinds: what comes beside bytes, messages, addresses."""

import array
import itertools
import os
import select
import socket

import pytest

from greensock import BaseRequestHandler, KeepAliveRequestHandler, StreamRequestHandler
from greensock.testing import running

from ..clients import Client, ask, connect, eventually, receive_line
from ..separate_process import Templates
from ..server_kinds import (
    UNIX_STREAM,
    Echo,
    patched_or_not,
    server_class,
    under_every_mixin,
)

pytest_plugins = ["tests.alone"]


class TakingFiles(KeepAliveRequestHandler):
    """Writes what came into the files that came with it."""

    def handle_one_request(self) -> None:
        data, files, _, _ = socket.recv_fds(self.request, 100, 10)
        for fd in files:
            os.write(fd, data)
            os.closerange(fd, fd + 1)
        self.wfile.write(b"%d\n" % len(files))


class TakingFilesByLine(TakingFiles):
    """Begins once its line is whole."""

    request_terminator = b"\n"


class ClassicTakingFiles(StreamRequestHandler):
    def handle(self) -> None:
        for _ in range(4):
            TakingFiles.handle_one_request(self)  # type: ignore[arg-type]


class ScatteringFiles(TakingFiles):
    def handle_one_request(self) -> None:
        buffers = [bytearray(1), bytearray(0), bytearray(50)]
        size, found, _, _ = self.request.recvmsg_into(buffers, socket.CMSG_LEN(40))
        data = b"".join(buffers)[:size]
        files = array.array("i", b"".join(each[2] for each in found))
        for fd in files:
            os.write(fd, data)
            os.closerange(fd, fd + 1)
        self.wfile.write(b"%d\n" % len(files))


TAKING = {
    each.__name__: each
    for each in (TakingFiles, TakingFilesByLine, ClassicTakingFiles, ScatteringFiles)
}


def new_name() -> str:
    """An address of a Unix socket that leaves no file behind."""
    return f"\0greensock-{os.getpid()}-{next(_numbers)}"


_numbers = itertools.count()


def hand_over_files(mixin: str, handler: str) -> None:
    path = new_name()
    with running(server_class(mixin, UNIX_STREAM)(path, TAKING[handler])), connect(path) as client:
        # A child is there before the pipes are, of which it has no copies so.
        assert ask(client, b"none\n") == b"0\n"
        for line in (b"one\n", b"two\n", b"three\n"):
            reading, writing = os.pipe()
            socket.send_fds(client, [line], [writing])
            # Not os.close(): in a patched process gevent may put that off until a hub turns.
            os.closerange(writing, writing + 1)
            assert receive_line(client) == b"1\n"
            assert os.read(reading, 100) == line
            # No copy of it was left open, in whichever process.
            eventually(lambda reading=reading: select.select([reading], [], [], 0)[0])
            assert os.read(reading, 1) == b""
            os.closerange(reading, reading + 1)


@patched_or_not
@under_every_mixin
@pytest.mark.parametrize("handler", TAKING)
def test_files_come_with_their_bytes(alone: Templates, mode: str, mixin: str, handler: str) -> None:
    alone(mode, hand_over_files, mixin, handler)


@under_every_mixin
def test_files_that_nobody_asks_for_are_closed(mixin: str) -> None:
    path = new_name()
    reading, writing = os.pipe()
    with running(server_class(mixin, UNIX_STREAM)(path, Echo)), connect(path) as client:
        for _ in range(2):
            socket.send_fds(client, [b"x\n"], [writing])
            assert receive_line(client) == b"x\n"
        os.closerange(writing, writing + 1)
        client.close()
        assert os.read(reading, 1) == b""
    os.closerange(reading, reading + 1)


class TakingMessages(KeepAliveRequestHandler):
    """Of each message, what fits; the rest of it is lost, as for any socket of messages."""

    def handle_one_request(self) -> None:
        self.request.send(b"<" + self.request.recv(1000) + b">")


class ReadingMessages(TakingMessages):
    """By its file: lines, whatever the message that they are in."""

    def handle_one_request(self) -> None:
        self.wfile.write(b"<" + self.rfile.readline().rstrip(b"\n") + b">")


class ClassicTakingMessages(BaseRequestHandler):
    def handle(self) -> None:
        while data := self.request.recv(1000):
            self.request.send(b"<" + data + b">")


MESSAGES = {
    each.__name__: each for each in (TakingMessages, ReadingMessages, ClassicTakingMessages)
}


def send_messages(mixin: str, handler: str) -> None:
    path = new_name()
    kind = {"address_family": socket.AF_UNIX, "socket_type": socket.SOCK_SEQPACKET}
    base = server_class(mixin)
    server = type("Server", (base,), kind)(path, MESSAGES[handler])
    with running(server), Client(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
        client.settimeout(30)
        client.connect(path)
        by_line = handler == "ReadingMessages"
        sizes = (1, 30_000, 900, 3, 5000) if by_line else (1, 5000, 900, 3)
        for size in sizes:
            client.send(b"a" * size + b"\n" * by_line)
        for size in sizes:
            expected = size if by_line else min(size, 1000)
            assert client.recv(100_000) == b"<" + b"a" * expected + b">"
        # And later, one by one.
        for _ in range(3):
            client.send(b"b\n")
            assert client.recv(100).rstrip(b"\n>") == b"<b"


@patched_or_not
@under_every_mixin
@pytest.mark.parametrize("handler", MESSAGES)
def test_messages_stay_what_they_are(alone: Templates, mode: str, mixin: str, handler: str) -> None:
    alone(mode, send_messages, mixin, handler)


@pytest.mark.parametrize("is_unix", [False, True])
@under_every_mixin
def test_other_addresses_are_served(mixin: str, is_unix: bool) -> None:
    settings = {"address_family": socket.AF_UNIX if is_unix else socket.AF_INET6}
    base = server_class(mixin)
    address = new_name() if is_unix else ("::1", 0)
    server = type("Server", (base,), settings)(address, Echo)
    with running(server), Client(settings["address_family"]) as client:
        client.connect(server.server_address)
        assert ask(client, b"x\n") == b"x\n"
