"""A drain is over when it said it would be, whatever handlers and hooks do meanwhile."""

import contextlib
import threading
from typing import Any

import gevent
import pytest
from gevent import monkey

from ..clients import ask, connect, eventually, receive_all
from ..separate_process import HERE, LIBUV, PATCHED
from ..server_kinds import CONCURRENT, GREENLET, NONE, THREADING, Echo, make_server
from .test_draining import Draining, serving

pytest_plugins = ["tests.alone"]


class Stubborn(Echo):
    """Waits for something that is none of its client's, and lets nobody end it before."""

    def handle_one_request(self) -> None:
        self.rfile.readline()
        self.wfile.write(b"begun\n")
        while not self.server.over.is_set():
            with contextlib.suppress(BaseException):
                self.server.wait()


def wait_in_greenlet(self: Any) -> None:
    gevent.sleep(0.01)


def wait_in_thread(self: Any) -> None:
    """Keeps the thread, and with it any hub that it has."""
    monkey.get_original("time", "sleep")(0.01)


def drain_stubborn(mixin: str, wait: str) -> None:
    over = threading.Event()
    server = make_server(
        mixin, Stubborn, over=over, wait=globals()[wait], block_on_close=False, linger=0
    )
    with serving(server), connect(server.server_address) as client:
        assert ask(client, b"x\n") == b"begun\n"
        # Its handler ends only after this.
        report = server.drain(0.05)
        assert [cut.client_address for cut in report.cut] == [client.getsockname()]
        assert report.seconds >= 0.05
        over.set()


@pytest.mark.parametrize(
    ("mode", "mixin", "wait"),
    [
        *(
            (mode, mixin, "wait_in_greenlet")
            for mode in (HERE, LIBUV)
            for mixin in (NONE, GREENLET)
        ),
        *((PATCHED, mixin, "wait_in_greenlet") for mixin in (NONE, GREENLET, THREADING)),
        *((HERE, mixin, "wait_in_thread") for mixin in (NONE, GREENLET, THREADING)),
    ],
)
@pytest.mark.expect_warnings("cut after .* s: ", "lets nobody end it", always=False)
def test_drain_is_over_whatever_a_handler_does(alone, mode: str, mixin: str, wait: str) -> None:
    alone(mode, drain_stubborn, mixin, wait)


class Waiting(Echo):
    """Waits for something that is none of its client's."""

    def handle_one_request(self) -> None:
        if self.rfile.readline() == b"wait\n":
            self.wfile.write(b"begun\n")
            gevent.sleep(60)
        self.wfile.write(b"\n")


def on_drain(self: Any, handler: Waiting) -> None:
    handler.wfile.write(b"goodbye\n")


def drain_while_one_waits(mixin: str) -> None:
    server = make_server(mixin, Waiting, linger=0, on_drain=on_drain)
    with (
        serving(server) as thread,
        connect(server.server_address) as idle,
        connect(server.server_address) as busy,
    ):
        assert ask(idle, b"x\n") == b"\n"
        eventually(lambda: server.stats().parked == 2)
        assert ask(busy, b"wait\n") == b"begun\n"
        draining = Draining(server, 1.0)
        assert receive_all(idle) == b"goodbye\n"
        # While the other is still at work.
        assert server.stats().open == 1
        assert draining.end()[:2] == (0, 1)
        thread.join()
        assert receive_all(busy) == b""


@pytest.mark.parametrize("mode", [HERE, PATCHED, LIBUV])
@pytest.mark.parametrize("mixin", [NONE, GREENLET])
@pytest.mark.expect_warnings("cut after .* s: ")
def test_parked_clients_are_told_goodbye_first(alone, mode: str, mixin: str) -> None:
    alone(mode, drain_while_one_waits, mixin)


@pytest.mark.parametrize("mixin", [NONE, *CONCURRENT])
def test_client_of_an_earlier_run_is_told_goodbye(mixin: str) -> None:
    server = make_server(mixin, Echo, linger=0, on_drain=on_drain)
    with serving(server) as thread, connect(server.server_address) as client:
        assert ask(client, b"x\n") == b"x\n"
        eventually(lambda: server.stats().parked == 1)
        server.shutdown()
        thread.join()
        assert server.drain(20)[:3] == (0, 1, ())
        assert receive_all(client) == b"goodbye\n"


def test_hook_that_waits_keeps_no_drain() -> None:
    def verify_request(self: Any, request: Any, client_address: Any) -> bool:
        gevent.sleep(60)
        return True

    server = make_server(GREENLET, Echo, verify_request=verify_request)
    with serving(server) as thread, connect(server.server_address):
        eventually(lambda: server.stats().accepted)
        server.drain(0.05)
        thread.join()
