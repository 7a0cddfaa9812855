"""What is sent arrives whole, once, and in order."""

import array
import os
import select
import socket
from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from greensock import StreamRequestHandler
from greensock.testing import running

from ..clients import connect, eventually, receive_all
from ..separate_process import STUCK, Templates
from ..server_kinds import (
    MIXINS,
    make_server,
    patched_or_not,
    under_every_mixin,
)
from ..tls.certificates import connect_over, over

pytest_plugins = ["tests.alone"]

#: More than a client's kernel takes without a reader; no part of it is like another.
NUMBERED = b"".join(b"%07d\n" % number for number in range(800_000))


def send_raw(handler: Any) -> int:
    with handler.request.makefile("wb", 0) as file:
        return int(file.write(NUMBERED))


SENDERS: dict[str, Callable[[Any], int]] = {
    "send": lambda handler: int(handler.request.send(NUMBERED)),
    "view": lambda handler: int(handler.request.send(memoryview(NUMBERED))),
    "array": lambda handler: int(handler.request.send(array.array("Q", NUMBERED))),
    "sendmsg": lambda handler: int(
        handler.request.sendmsg(iter([NUMBERED[:10], b"", NUMBERED[10:]]))
    ),
    "raw file": send_raw,
}


class Sending(StreamRequestHandler):
    def handle(self) -> None:
        sent = SENDERS[self.rfile.readline().decode().strip()](self)
        assert sent == len(NUMBERED)


def take_all(mixin: str, way: str, tls: bool) -> None:
    with (
        running(make_server(mixin, Sending, **over(tls))) as address,
        connect_over(address, tls) as client,
    ):
        client.sendall(way.encode() + b"\n")
        if not tls:
            # So that there is no room for more.
            eventually(lambda: client.recv(1, socket.MSG_PEEK))
        assert receive_all(client) == NUMBERED


@under_every_mixin
@pytest.mark.parametrize("way", SENDERS)
def test_a_send_that_blocks_takes_all(mixin: str, way: str) -> None:
    take_all(mixin, way, False)


@under_every_mixin
@pytest.mark.parametrize("way", ["send", "view", "raw file"])
def test_a_send_that_blocks_takes_all_over_tls(mixin: str, way: str) -> None:
    take_all(mixin, way, True)


@patched_or_not
def test_a_send_that_blocks_takes_all_patched(alone: Templates, mode: str) -> None:
    for mixin in MIXINS:
        alone(mode, take_all, mixin, "send", False)


class SendingInTime(StreamRequestHandler):
    """With a timeout, what there is room for, as anywhere; and at once, if it does not block."""

    def handle(self) -> None:
        self.request.settimeout(float(self.rfile.readline()))
        sent = self.request.send(NUMBERED)
        self.request.settimeout(None)
        self.request.sendall(b"\0%d" % sent)


@under_every_mixin
@pytest.mark.parametrize("timeout", [b"60\n", b"0\n"])
def test_a_send_with_a_timeout_takes_what_there_is_room_for(mixin: str, timeout: bytes) -> None:
    with running(make_server(mixin, SendingInTime)) as address, connect(address) as client:
        client.sendall(timeout)
        eventually(lambda: client.recv(1, socket.MSG_PEEK))
        got, _, said = receive_all(client).partition(b"\0")
        assert 0 < len(got) == int(said) < len(NUMBERED)
        assert NUMBERED.startswith(got)


# A flush that has failed.


class Flushing(StreamRequestHandler):
    #: Written to once a flush has timed out, in whichever process.
    timed_out: ClassVar[tuple[int, int]]
    wbufsize = len(NUMBERED) + 1

    def handle(self) -> None:
        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        self.request.settimeout(0.2)
        self.wfile.write(NUMBERED[: len(NUMBERED) // 2])
        try:
            self.wfile.flush()
        except TimeoutError:
            os.write(self.timed_out[1], b"!")
            self.request.settimeout(None)
            # The rest of it is before this.
            self.wfile.write(NUMBERED[len(NUMBERED) // 2 :])


class FlushingFile(Flushing):
    """By a file of its own, of text."""

    wbufsize = 0

    def handle(self) -> None:
        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        self.request.settimeout(0.2)
        with self.request.makefile("w", len(NUMBERED) + 1, newline="") as file:
            file.write(NUMBERED.decode())
            try:
                file.flush()
            except TimeoutError:
                os.write(self.timed_out[1], b"!")
            self.request.settimeout(None)


def flush_again(mixin: str, handler: str, tls: bool) -> None:
    flushing = {each.__name__: each for each in (Flushing, FlushingFile)}[handler]
    Flushing.timed_out = os.pipe()
    with (
        running(make_server(mixin, flushing, **over(tls))) as address,
        connect_over(address, tls) as client,
    ):
        if tls:
            client.do_handshake()
        select.select([Flushing.timed_out[0]], [], [], STUCK)
        assert receive_all(client) == NUMBERED
    for fd in Flushing.timed_out:
        os.close(fd)


@patched_or_not
@under_every_mixin
@pytest.mark.parametrize("handler", ["Flushing", "FlushingFile"])
def test_flush_goes_on_where_it_failed(
    alone: Templates, mode: str, mixin: str, handler: str
) -> None:
    alone(mode, flush_again, mixin, handler, False)


@under_every_mixin
def test_flush_over_tls_goes_on_where_it_failed(mixin: str) -> None:
    flush_again(mixin, "Flushing", True)
