"""Who came first is served first, where one is served after the other."""

import contextlib
import os
import socket
from typing import ClassVar

import pytest

from greensock.testing import running

from ..clients import ask, connect, eventually, receive_line, wait_until_parked
from ..separate_process import HERE, LIBUV, Templates
from ..server_kinds import FORKING, GREENLET, NONE, THREADING, DeferredEcho, Echo, make_server

pytest_plugins = ["tests.alone"]

#: More than libev takes from the kernel at once.
CROWD = 150


class Noting(Echo):
    """Notes who is served, by a pipe; the first keeps its process busy meanwhile."""

    served: ClassVar[tuple[int, int]]
    gate: ClassVar[tuple[int, int]]

    def handle_one_request(self) -> None:
        line = self.rfile.readline()
        self.wfile.write(line)
        if line == b"first\n":
            # Natively: no hub of this thread finds out who comes meanwhile.
            os.read(self.gate[0], 1)
        elif line:
            os.write(self.served[1], line)


class NotingWholeLines(Noting):
    request_terminator = b"\n"


class NotingOnce(DeferredEcho):
    """With a handle() of its own, begun at the first byte."""

    def handle(self) -> None:
        Noting.handle_one_request(self)  # type: ignore[arg-type]


class NotingAfterGreeting(Noting):
    """Made before its client has spoken."""

    def setup(self) -> None:
        super().setup()


HANDLERS = {
    each.__name__: each for each in (Noting, NotingWholeLines, NotingOnce, NotingAfterGreeting)
}
#: So that one is served after the other.
ONE_AT_A_TIME = {THREADING: "max_threads", FORKING: "max_children", GREENLET: "max_greenlets"}


def serve_in_order(mixin: str, handler: str, parked: bool) -> None:
    Noting.served, Noting.gate = os.pipe(), os.pipe()
    NotingOnce.served, NotingOnce.gate = Noting.served, Noting.gate  # type: ignore[attr-defined]
    settings = {ONE_AT_A_TIME[mixin]: 1} if mixin in ONE_AT_A_TIME else {}
    server = make_server(mixin, HANDLERS[handler], request_queue_size=CROWD + 1, **settings)
    crowd = CROWD if mixin in (NONE, GREENLET) else 20
    with contextlib.ExitStack() as stack:
        address = stack.enter_context(running(server))
        first = stack.enter_context(connect(address))
        others: list[socket.socket] = []
        if parked:
            others = [stack.enter_context(connect(address)) for _ in range(crowd)]
            wait_until_parked(server, crowd + 1)
        # Busy from its answer on.
        assert ask(first, b"first\n") == b"first\n"
        for number in range(crowd):
            if not parked:
                others.append(stack.enter_context(connect(address)))
            others[number].sendall(b"%03d\n" % number)
        os.write(Noting.gate[1], b"!")
        seen = b""
        while len(seen) < 4 * crowd:
            seen += read_cooperatively(Noting.served[0])
        assert seen == b"".join(b"%03d\n" % number for number in range(crowd))
        for number, other in enumerate(others):
            assert receive_line(other) == b"%03d\n" % number
    for fd in (*Noting.served, *Noting.gate):
        os.close(fd)


def read_cooperatively(fd: int) -> bytes:
    os.set_blocking(fd, False)
    data = b""

    def read() -> bytes:
        nonlocal data
        with contextlib.suppress(BlockingIOError):
            data = os.read(fd, 65536)
        return data

    eventually(read)
    return data


@pytest.mark.parametrize("mode", [HERE, LIBUV])
@pytest.mark.parametrize("handler", HANDLERS)
@pytest.mark.parametrize("parked", [False, True])
def test_without_a_mixin(alone: Templates, mode: str, handler: str, parked: bool) -> None:
    alone(mode, serve_in_order, NONE, handler, parked)


@pytest.mark.parametrize("mixin", [GREENLET, THREADING, FORKING])
@pytest.mark.parametrize("parked", [False, True])
def test_one_at_a_time(mixin: str, parked: bool) -> None:
    serve_in_order(mixin, "Noting", parked)
