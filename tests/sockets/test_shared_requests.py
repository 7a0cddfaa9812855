"""Threads of the program's own that use a client who is served."""

import contextlib
import threading
import time
from typing import ClassVar

import pytest
from gevent import monkey

from greensock import KeepAliveRequestHandler, StreamRequestHandler
from greensock.testing import running

from ..clients import ask, descriptors, eventually, receive_all
from ..separate_process import Templates
from ..server_kinds import (
    GREENLET,
    NONE,
    THREADING,
    make_server,
    without_children,
)
from ..tls.certificates import TlsClient, connect_over, over

pytest_plugins = ["tests.alone"]

#: More than a client's kernel takes without a reader; no part of it is like another.
NUMBERED = b"".join(b"%07d\n" % number for number in range(800_000))


class Pushed(KeepAliveRequestHandler):
    """Echoes, while whoever asks `open` writes to it too."""

    request_terminator = b"\n"
    open: ClassVar[set["Pushed"]] = set()

    def handle_one_request(self) -> None:
        line = self.rfile.readline()
        if line == b"push me\n":
            self.open.add(self)
        self.wfile.write(line)

    def finish(self) -> None:
        self.open.discard(self)
        super().finish()


PUSHED = b"pushed " + b"p" * 60 + b"\n"


def push_beside_answers(mixin: str, tls: bool) -> None:
    stop = threading.Event()

    def push() -> None:
        # No Event.wait(): three that time out as gevent's is set may wait for ever (26.9.0).
        while not stop.is_set():
            time.sleep(0.002)
            for handler in tuple(Pushed.open):
                with contextlib.suppress(OSError):
                    handler.wfile.write(PUSHED)

    pushers = [threading.Thread(target=push) for _ in range(3)]
    with running(make_server(mixin, Pushed, **over(tls))) as address, contextlib.ExitStack() as all:
        connected = [all.enter_context(connect_over(address, tls)) for _ in range(3)]
        files = [all.enter_context(client.makefile("rb")) for client in connected]
        for client, file in zip(connected, files, strict=True):
            client.sendall(b"push me\n")
            assert file.readline() == b"push me\n"
        for pusher in pushers:
            pusher.start()
        try:
            seen = 0
            for number in range(250):
                for client, file in zip(connected, files, strict=True):
                    line = b"%d" % number + b"x" * 50 + b"\n"
                    client.sendall(line)
                    while (got := file.readline()) != line:
                        assert got == PUSHED, got
                        seen += 1
            assert seen
        finally:
            stop.set()
            for pusher in pushers:
                pusher.join()


@pytest.mark.parametrize("mixin", [NONE, GREENLET, THREADING])
@pytest.mark.parametrize("tls", [False, True])
def test_threads_may_write_to_a_client_that_is_served(mixin: str, tls: bool) -> None:
    push_beside_answers(mixin, tls)


@without_children
def test_greenlets_may_write_to_a_client_that_is_served(alone: Templates, mixin: str) -> None:
    alone("patched", push_beside_answers, mixin, True)


class Flooding(KeepAliveRequestHandler):
    """Several write much to a client who reads slowly, record by record."""

    def handle_one_request(self) -> None:
        self.rfile.readline()

        def write(name: bytes) -> None:
            for _ in range(40):
                self.request.sendall(name * 16000)

        others = [threading.Thread(target=write, args=(name,)) for name in (b"a", b"b")]
        for other in others:
            other.start()
        write(b"c")
        for other in others:
            other.join()
        self.close_connection = True


@pytest.mark.parametrize("mixin", [GREENLET, THREADING])
def test_threads_wait_their_turn_amid_a_record(mixin: str) -> None:
    settings = over(True)
    with (
        running(make_server(mixin, Flooding, **settings)) as address,
        TlsClient(address) as client,
    ):
        client.tls.sendall(b"x\n")
        got = receive_all(client.tls)
        assert [got.count(each) for each in b"abc"] == [40 * 16000] * 3
        assert all(len(set(got[at : at + 16000])) == 1 for at in range(0, len(got), 16000)), "torn"


# Native threads of the program's own.


class Helped(StreamRequestHandler):
    """Has a thread of its own read, wait for, and write to its client."""

    def handle(self) -> None:
        helper = monkey.get_original("threading", "Thread")(target=self.help)
        helper.start()
        # Not join(), which would keep a hub from turning.
        eventually(lambda: not helper.is_alive())

    def help(self) -> None:
        self.wfile.write(self.rfile.readline())
        self.request.settimeout(60)
        self.wfile.write(self.rfile.readline())
        self.request.sendall(NUMBERED)


@without_children
@pytest.mark.parametrize("tls", [False, True])
def test_threads_of_the_program_leave_nothing_behind(mixin: str, tls: bool) -> None:
    with running(make_server(mixin, Helped, **over(tls))) as address:

        def be_helped() -> None:
            with connect_over(address, tls) as client:
                for line in (b"a\n", b"b\n"):
                    assert ask(client, line) == line
                assert receive_all(client) == NUMBERED

        be_helped()
        before = len(descriptors())
        for _ in range(3):
            be_helped()
        eventually(lambda: len(descriptors()) <= before)
