"""What receiving gives: what is there, all that was asked for, what is beside the stream."""

import os
import socket
import threading
from typing import Any

import pytest

from greensock import BaseRequestHandler, StreamRequestHandler
from greensock.testing import running

from ..clients import ask, connect, eventually, receive_all, receive_line
from ..separate_process import Templates
from ..server_kinds import (
    NONE,
    Echo,
    make_server,
    patched_or_not,
    under_every_mixin,
)

pytest_plugins = ["tests.alone"]

#: More than a client's kernel takes without a reader; no part of it is like another.
NUMBERED = b"".join(b"%07d\n" % number for number in range(800_000))


class Polling(StreamRequestHandler):
    """Asks for what is there, and waits for none of it."""

    def handle(self) -> None:
        self.make_non_blocking()
        file = self.rfile
        seen: list[Any] = [file.readline(), file.read1(), file.peek(), file.read(3), file.read()]
        seen.append(file.readinto(bytearray(3)))
        for receive in (self.request.recv, lambda size: self.request.recv_into(bytearray(size))):
            try:
                seen.append(receive(3))
            except BlockingIOError:
                seen.append("nothing")
        try:
            while True:
                self.wfile.write(NUMBERED)
        except BlockingIOError:
            seen.append("full")
        os.set_blocking(self.request.fileno(), True)
        self.request.setblocking(True)
        self.request.sendall(b"\0" + repr(seen).encode())

    def make_non_blocking(self) -> None:
        self.request.setblocking(False)


class PollingByFlag(Polling):
    def make_non_blocking(self) -> None:
        os.set_blocking(self.rfile.fileno(), False)


NOTHING = [b"", b"", b"", None, None, None, "nothing", "nothing", "full"]


def poll_for_nothing(mixin: str, handler: str) -> None:
    polling = {each.__name__: each for each in (Polling, PollingByFlag)}[handler]
    with running(make_server(mixin, polling)) as address, connect(address) as client:
        *_, said = receive_all(client).rpartition(b"\0")
        assert said == repr(NOTHING).encode()


@patched_or_not
@under_every_mixin
@pytest.mark.parametrize("handler", ["Polling", "PollingByFlag"])
def test_nobody_waits_where_the_program_does_not(
    alone: Templates, mode: str, mixin: str, handler: str
) -> None:
    alone(mode, poll_for_nothing, mixin, handler)


# All of what was asked for.


class WaitingForAll(BaseRequestHandler):
    def handle(self) -> None:
        buffer = bytearray(10)
        got = self.request.recv(10, socket.MSG_WAITALL)
        size = self.request.recv_into(buffer, 10, socket.MSG_WAITALL)
        self.request.sendall(got + b"," + bytes(buffer[:size]) + b"\n")
        self.request.settimeout(60)
        assert 0 < len(self.request.recv(10, socket.MSG_WAITALL)) < 10
        self.request.settimeout(None)
        # The end comes before all has.
        assert self.request.recv(1000, socket.MSG_WAITALL) == b"end"
        self.request.sendall(b"done\n")


@patched_or_not
@under_every_mixin
def test_waiting_for_all(alone: Templates, mode: str, mixin: str) -> None:
    alone(mode, wait_for_all, mixin)


def wait_for_all(mixin: str) -> None:
    with running(make_server(mixin, WaitingForAll)) as address, connect(address) as client:
        for part in (b"01", b"234", b"56789ab", b"cdefghij"):
            client.sendall(part)
            threading.Event().wait(0.02)
        assert receive_line(client) == b"0123456789,abcdefghij\n"
        client.sendall(b"123")
        threading.Event().wait(0.05)
        client.sendall(b"end")
        client.shutdown(socket.SHUT_WR)
        assert receive_line(client) == b"done\n"


# Urgent bytes.


class Urgent(StreamRequestHandler):
    """Answers with an urgent byte, whenever it comes, and then with the line around it."""

    def handle(self) -> None:
        self.wfile.write(self.rfile.readline())
        # With some of the stream unread.
        self.rfile.peek()
        eventually(self.receive_urgent)
        self.wfile.write(self.rfile.readline())

    def receive_urgent(self) -> bool:
        try:
            self.wfile.write(self.request.recv(1, socket.MSG_OOB) + b"\n")
        except OSError:
            # It has not come yet. The call never waits, whatever the request does.
            return False
        return True


def be_urgent(mixin: str) -> None:
    with running(make_server(mixin, Urgent)) as address, connect(address) as client:
        assert ask(client, b"a\n") == b"a\n"
        client.sendall(b"be")
        client.send(b"!", socket.MSG_OOB)
        assert receive_line(client) == b"!\n"
        assert ask(client, b"hind\n") == b"behind\n"


@patched_or_not
@under_every_mixin
def test_urgent_byte_is_received_beside_the_stream(alone: Templates, mode: str, mixin: str) -> None:
    alone(mode, be_urgent, mixin)


class TerminatedEcho(Echo):
    request_terminator = b"\n"


def ignore_urgency(mixin: str) -> None:
    with (
        running(make_server(mixin, TerminatedEcho)) as address,
        running(make_server(NONE, Echo)) as elsewhere,
        connect(address) as client,
        connect(elsewhere) as other,
    ):
        assert ask(client, b"a\n") == b"a\n"
        for at in range(3):
            client.send(b"!", socket.MSG_OOB)
            for _ in range(20):
                assert ask(other, b"x\n") == b"x\n"
            client.sendall(b"b" * at)
            client.send(b"?", socket.MSG_OOB)
            assert ask(client, b"c\n") == b"b" * at + b"c\n"


@patched_or_not
@under_every_mixin
def test_urgent_byte_is_none_of_the_stream(alone: Templates, mode: str, mixin: str) -> None:
    alone(mode, ignore_urgency, mixin)


class Inline(Echo):
    def setup(self) -> None:
        super().setup()
        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)


@under_every_mixin
def test_urgent_byte_may_be_one_of_the_stream(mixin: str) -> None:
    with running(make_server(mixin, Inline)) as address, connect(address) as client:
        assert ask(client, b"a\n") == b"a\n"
        client.send(b"!", socket.MSG_OOB)
        assert ask(client, b"b\n") == b"!b\n"
