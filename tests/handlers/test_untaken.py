"""A handle_one_request() that returns without having taken anything is called again for more."""

import os
import socket
import threading
from typing import Any, ClassVar

import pytest

from greensock import KeepAliveRequestHandler
from greensock.testing import running

from ..clients import ask, connect, exchange, receive_all
from ..separate_process import HERE, PATCHED, Templates
from ..server_kinds import (
    FORKING,
    NONE,
    THREADING,
    Echo,
    make_server,
    patched_or_not,
    under_every_mixin,
)
from ..tls.certificates import connect_over, over

pytest_plugins = ["tests.alone"]

FRAME = b"\x0a0123456789"


class Frames(KeepAliveRequestHandler):
    """Frames that are looked at, and taken once they are whole; a length goes before."""

    #: Where each call leaves a byte, whichever process it is in.
    calls: ClassVar[tuple[int, int]]

    def look(self) -> bytes:
        return bytes(self.rfile.peek(1))

    def take(self, size: int) -> bytes:
        return bytes(self.rfile.read(size))

    def handle_one_request(self) -> None:
        os.write(self.calls[1], b".")
        head = self.look()
        if not head:
            self.close_connection = True
        elif len(head) > head[0]:
            self.wfile.write(self.take(head[0] + 1))


class PeekingFrames(Frames):
    """By the request's own calls."""

    def look(self) -> bytes:
        return bytes(self.request.recv(100, socket.MSG_PEEK))

    def take(self, size: int) -> bytes:
        return bytes(self.request.recv(size))


class UnbufferedFrames(PeekingFrames):
    """And nothing is received but by them."""

    rbufsize = 0


class TerminatedFrames(Frames):
    """What the server takes for a whole request, the handler does not."""

    request_terminator = b"\x0a"


class OwnSetupFrames(TerminatedFrames):
    """Made before its client has spoken."""

    def setup(self) -> None:
        super().setup()
        self.wfile.write(b"hello")

    def handle_one_request(self) -> None:
        super().handle_one_request()


KINDS = {
    each.__name__: each
    for each in (Frames, PeekingFrames, UnbufferedFrames, TerminatedFrames, OwnSetupFrames)
}


def call_it_for_each_piece(mixin: str, kind: str, tls: bool) -> None:
    Frames.calls = os.pipe()
    with (
        running(make_server(mixin, KINDS[kind], **over(tls))) as address,
        running(make_server(NONE if mixin == FORKING else mixin, Echo)) as elsewhere,
        connect_over(address, tls) as client,
        connect(elsewhere) as other,
    ):
        if kind == "OwnSetupFrames":
            assert client.recv(5) == b"hello"
        exchange(client, FRAME, FRAME)
        exchange(client, FRAME + FRAME, FRAME + FRAME)
        pieces = FRAME[:1], FRAME[1:3], FRAME[3:10]
        for piece in pieces:
            client.sendall(piece)
            # Time for thousands of calls.
            for _ in range(30):
                assert ask(other, b"x\n") == b"x\n"
        exchange(client, FRAME[10:], FRAME)
        exchange(client, FRAME, FRAME)
    calls = len(os.read(Frames.calls[0], 65536))
    # Where only the kernel has the bytes, it takes a second call to see that they stay.
    assert calls <= 5 + 2 * (len(pieces) + 1), calls
    for fd in Frames.calls:
        os.close(fd)


@patched_or_not
@under_every_mixin
@pytest.mark.parametrize("kind", KINDS)
def test_one_call_for_each_piece(alone: Templates, mode: str, mixin: str, kind: str) -> None:
    alone(mode, call_it_for_each_piece, mixin, kind, False)


@under_every_mixin
@pytest.mark.parametrize("kind", ["Frames", "UnbufferedFrames"])
def test_one_call_for_each_piece_over_tls(alone: Templates, mixin: str, kind: str) -> None:
    alone(HERE, call_it_for_each_piece, mixin, kind, True)
    alone(PATCHED, call_it_for_each_piece, mixin, kind, True)


@pytest.mark.parametrize("kind", ["Frames", "UnbufferedFrames"])
@under_every_mixin
def test_half_a_frame_ends_with_its_stream(mixin: str, kind: str) -> None:
    Frames.calls = os.pipe()
    with running(make_server(mixin, KINDS[kind])) as address, connect(address) as client:
        client.sendall(FRAME + FRAME[:4])
        client.shutdown(socket.SHUT_WR)
        assert receive_all(client) == FRAME
    for fd in Frames.calls:
        os.close(fd)


def test_what_nobody_takes_does_not_fill_the_memory() -> None:
    Frames.calls = os.pipe()
    met = []

    class Ignoring(Frames):
        def handle_one_request(self) -> None:
            pass

    def note(server: Any, request: Any, client_address: Any) -> None:
        met.append(client_address)

    server = make_server("greenlet", Ignoring, handle_error=note)
    with running(server) as address, connect(address) as client:
        sender = threading.Thread(target=send_until_closed, args=(client,))
        sender.start()
        sender.join()
        assert met == [client.getsockname()]
    for fd in Frames.calls:
        os.close(fd)


def send_until_closed(client: socket.socket) -> None:
    try:
        while True:
            client.sendall(bytes(65536))
    except OSError:
        pass


@pytest.mark.parametrize("mixin", [NONE, THREADING, FORKING])
def test_handled_request_waits_for_more_itself(mixin: str) -> None:
    """Outside of serve_forever nobody parks, and the handler's own loop calls it."""
    Frames.calls = os.pipe()
    with make_server(mixin, Frames) as server, connect(server.server_address) as client:
        handled = threading.Thread(target=server.handle_request)
        handled.start()
        for piece in (FRAME[:1], FRAME[1:3]):
            client.sendall(piece)
        exchange(client, FRAME[3:], FRAME)
        client.sendall(FRAME[:3])
        client.shutdown(socket.SHUT_WR)
        assert receive_all(client) == b""
        handled.join()
    assert len(os.read(Frames.calls[0], 65536)) <= 6
    for fd in Frames.calls:
        os.close(fd)
