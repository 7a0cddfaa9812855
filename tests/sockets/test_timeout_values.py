"""The values that a timeout may have, of a request, a handler, a server."""

import contextlib
import math
import time
from typing import Any

import pytest
from gevent import monkey

from greensock import BaseRequestHandler
from greensock.sockets.cooperative import CooperativeSocket
from greensock.testing import running

from ..clients import ask, connect
from ..separate_process import HERE, PATCHED, Templates
from ..server_kinds import (
    NONE,
    Echo,
    make_server,
    under_every_mixin,
)

pytest_plugins = ["tests.alone"]

OriginalSocket: Any = monkey.get_original("socket", "socket")

#: More than a client's kernel takes without a reader.
LARGE = bytes(3_000_000)
LIMIT = 0.3


VALUES: list[Any] = [
    None, 0, 0.0, -0.0, 1, True, 0.5, -1, -0.001, 1e9, 9e9, 1e10, 1e300, math.inf, -math.inf,
    math.nan, 2**62, 10**30, "5", b"5", (), 1j,
]  # fmt: skip


def outcome(sock: Any, value: Any) -> Any:
    try:
        sock.settimeout(value)
    except (TypeError, ValueError, OverflowError) as error:
        return type(error)
    return sock.gettimeout(), sock.getblocking()


@pytest.mark.parametrize("value", VALUES)
def test_timeout_takes_what_a_sockets_takes(value: Any) -> None:
    with CooperativeSocket() as ours, OriginalSocket() as theirs:
        assert outcome(ours, value) == outcome(theirs, value)


@pytest.mark.parametrize("timeout", [0, 0.0, 9e9])
@under_every_mixin
def test_handlers_timeout_may_be_any_such(mixin: str, timeout: float) -> None:
    """0: as with a socket that does not block, who says nothing at once is gone."""

    class Timed(Echo):
        pass

    Timed.timeout = timeout
    with running(make_server(mixin, Timed)) as address, connect(address) as client:
        if timeout:
            assert ask(client, b"x\n") == b"x\n"
        else:
            with contextlib.suppress(ConnectionError):
                assert client.recv(10) == b""


class Silent(BaseRequestHandler):
    pass


@pytest.mark.parametrize("timeout", [0, -1, 0.01])
def test_handle_request_looks_once_or_for_a_while(timeout: float) -> None:
    timed_out = []
    server = make_server(
        NONE, Silent, timeout=timeout, handle_timeout=lambda self: timed_out.append(self)
    )
    with server:
        server.handle_request()
        assert timed_out == [server]


@pytest.mark.parametrize("timeout", [None, 1e10, math.inf])
def test_handle_request_waits_for_as_long_as_it_takes(timeout: float | None) -> None:
    with make_server(NONE, Silent, timeout=timeout) as server, connect(server.server_address):
        server.handle_request()
        assert server.stats().accepted == 1


def serve_with_interval(mixin: str, interval: str) -> None:
    calls = []

    def note(server: Any) -> None:
        calls.append(time.monotonic())

    server = make_server(mixin, Echo, service_actions=note)
    poll_interval = None if interval == "None" else float(interval)
    with running(server, poll_interval) as address, connect(address) as client:  # type: ignore[arg-type]
        before = time.monotonic()
        for _ in range(20):
            assert ask(client, b"x\n") == b"x\n"
        if poll_interval is not None and poll_interval <= 0:
            while len(calls) < 100:
                ask(client, b"x\n")
                time.sleep(0.01)
            # Not as many as a processor can make.
            assert len(calls) < 500 + 4000 * (time.monotonic() - before)


@pytest.mark.parametrize("interval", ["0", "-1", "None", "1e10", "inf"])
@pytest.mark.parametrize("mode", [HERE, PATCHED, "libuv"])
def test_poll_interval_may_be_anything(alone: Templates, mode: str, interval: str) -> None:
    alone(mode, serve_with_interval, NONE, interval)
    alone(mode, serve_with_interval, "greenlet", interval)
