"""Errors on the way to a client's end: two at once, of one among many, of a datagram's handler."""

import contextlib
import socket
import threading
from typing import Any

import pytest

from greensock import BaseRequestHandler

from ..clients import ask, connect, eventually, receive_all
from ..separate_process import PATCHED, UNPATCHED
from ..server_kinds import (
    ANY_PORT,
    FORKING,
    GREENLET,
    MIXINS,
    NONE,
    UDP,
    server_class,
    without_children,
)
from .test_endings import (
    SOME_ERRORS,
    Trap,
    Treading,
    fail,
    handle_error,
    leaves,
    on_drain,
    serve_until_left,
    stepping,
    trapped_server,
)

pytest_plugins = ["tests.alone"]


class TreadingDatagram(BaseRequestHandler):
    def handle(self) -> None:
        data, sock = self.request
        if data == b"trap":
            self.server.trap.step_on("handle")
        sock.sendto(data, self.client_address)


def answer_datagrams(mixin: str, place: str) -> None:
    for error in SOME_ERRORS:
        names: dict[str, Any] = {
            "seen": [],
            "trap": Trap(place, error),
            "handle_error": handle_error,
        }
        base = server_class(mixin, UDP)
        if place != "handle":
            names[place] = stepping(place, base)
        server = type(base.__name__, (base,), names)(ANY_PORT, TreadingDatagram)

        def provoke(address: Any, server: Any) -> None:
            with socket.socket(type=socket.SOCK_DGRAM) as client:
                client.settimeout(0.1)
                for data in (b"trap", b"x"):
                    with contextlib.suppress(TimeoutError):
                        client.sendto(data, address)
                        client.recv(9)

        left = serve_until_left(server, provoke, ask_a_datagram)
        told = (error, left, server.seen)
        goes_on = issubclass(error, Exception) or not leaves(mixin, "turn", error)
        if mixin == FORKING:
            assert left is None, told
        else:
            assert (type(left) if left else None) is (None if goes_on else error), told
            assert server.seen == [error] * issubclass(error, Exception), told


def ask_a_datagram(address: Any, line: bytes) -> bytes:
    with socket.socket(type=socket.SOCK_DGRAM) as client:
        client.settimeout(0.2)
        for _ in range(100):
            with contextlib.suppress(TimeoutError):
                client.sendto(line, address)
                return client.recv(9)
    return b""


@pytest.mark.parametrize("mode", [UNPATCHED, PATCHED])
@pytest.mark.parametrize("place", ["handle", "finish_request"])
@pytest.mark.parametrize("mixin", MIXINS)
@pytest.mark.expect_warnings("", always=False)
def test_only_its_owner_ends_a_server_of_datagrams(
    alone, mode: str, place: str, mixin: str
) -> None:
    alone(mode, answer_datagrams, mixin, place)


class TwiceFailing(Treading):
    """Fails for whoever says so, and its finish() fails then too."""

    failed = False

    def handle_one_request(self) -> None:
        self.failed = True
        super().handle_one_request()
        self.failed = False

    def finish(self) -> None:
        if self.failed:
            super().finish()


class TwiceFailingWhole(TwiceFailing):
    def handle(self) -> None:
        super().handle()


def fail_twice(mixin: str, handler: str) -> None:
    for error in SOME_ERRORS:
        server = trapped_server(mixin, globals()[handler], "finish", error)
        left = serve_until_left(server, fail)
        told = (error, left, server.seen)
        if issubclass(error, Exception):
            # One in place of the other, which is its context.
            assert (left, server.seen) == (None, [] if mixin == FORKING else [error]), told
        else:
            may_leave = mixin == NONE or (error is KeyboardInterrupt and mixin == GREENLET)
            assert (type(left) if left else None) is (error if may_leave else None), told


@pytest.mark.parametrize("mode", [UNPATCHED, PATCHED])
@pytest.mark.parametrize("handler", ["TwiceFailing", "TwiceFailingWhole"])
@pytest.mark.parametrize("mixin", MIXINS)
@pytest.mark.expect_warnings("", always=False)
def test_handler_that_cannot_even_finish_ends_its_client_only(
    alone, mode: str, handler: str, mixin: str
) -> None:
    alone(mode, fail_twice, mixin, handler)


def close_all(mixin: str, place: str, by_drain: bool) -> None:
    """Three parked clients, of whom the first to be closed steps on the trap."""
    for error in SOME_ERRORS:
        server = trapped_server(mixin, Treading, place, error, on_drain=on_drain)
        left: list[BaseException | None] = []
        ended: list[bytes] = []

        def be_clients(server: Any = server, ended: list[bytes] = ended) -> None:
            with contextlib.ExitStack() as stack:
                each = [stack.enter_context(connect(server.server_address)) for _ in range(3)]
                for client in each:
                    assert ask(client, b"x\n") == b"x\n"
                eventually(lambda: server.stats().parked == 3)
                if by_drain:
                    server.drain(20)
                else:
                    server.shutdown()
                ended.extend(map(receive_all, each))

        thread = threading.Thread(target=be_clients)
        thread.start()
        try:
            server.serve_forever()
            server.server_close()
        except BaseException as raised:  # noqa: BLE001
            left.append(raised)
            server.server_close()
        thread.join()
        told = (error, left, server.seen)
        assert ended == [b"", b"", b""], told
        assert [type(each) for each in left] == [error] * (error is KeyboardInterrupt), told
        assert server.seen == [error] * issubclass(error, Exception), told


@pytest.mark.parametrize("mode", [UNPATCHED, PATCHED])
@pytest.mark.parametrize(
    ("place", "by_drain"),
    [("finish", True), ("finish", False), ("on_drain", True), ("shutdown_request", True)],
)
@without_children
def test_one_who_does_not_end_well_keeps_nobody(
    alone, mode: str, place: str, by_drain: bool, mixin: str
) -> None:
    alone(mode, close_all, mixin, place, by_drain)
