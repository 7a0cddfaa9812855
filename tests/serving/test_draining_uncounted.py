"""Drains that wait for handlers whom no count says to run: of datagrams, in daemon threads."""

import socket
import threading
import time

import pytest

from greensock import BaseRequestHandler

from ..clients import ask, connect, eventually
from ..separate_process import HERE, PATCHED, STUCK, UNPATCHED
from ..server_kinds import ANY_PORT, MIXINS, THREADING, UDP, Holding, make_server, server_class
from .test_draining import Draining

pytest_plugins = ["tests.alone"]


class Hesitant(BaseRequestHandler):
    """Answers a datagram a moment later."""

    def handle(self) -> None:
        time.sleep(0.05)
        data, sock = self.request
        sock.sendto(data, self.client_address)


def drain_datagrams(mixin: str) -> None:
    """In the main thread, whose hub goes on after serve_forever."""
    base = server_class(mixin, UDP)
    server = type(base.__name__, (base,), {"daemon_threads": True, "block_on_close": False})(
        ANY_PORT, Hesitant
    )
    with socket.socket(type=socket.SOCK_DGRAM) as client:
        client.settimeout(STUCK)
        client.connect(server.server_address)
        for number in range(4):
            client.send(b"%d" % number)
        draining: list[Draining] = []

        def drain() -> None:
            eventually(lambda: server.stats().uptime)
            draining.append(Draining(server, STUCK))

        thread = threading.Thread(target=drain)
        thread.start()
        server.serve_forever()
        server.server_close()
        thread.join()
        assert draining[0].end().cut == ()
        assert {client.recv(10) for _ in range(4)} == {b"0", b"1", b"2", b"3"}
    assert server.stats().errors == 0


@pytest.mark.parametrize("mode", [UNPATCHED, PATCHED])
@pytest.mark.parametrize("mixin", MIXINS)
def test_datagrams_are_answered_before_the_end(alone, mode: str, mixin: str) -> None:
    alone(mode, drain_datagrams, mixin)


def drain_daemons() -> None:
    """Where nobody serves any more: `handle_request` has started a thread, and that is all."""
    server = make_server(THREADING, Holding, daemon_threads=True)
    with server, connect(server.server_address) as client:
        client.sendall(b"x\n")
        server.handle_request()
        assert client.recv(10) == b"begun\n"
        draining = Draining(server, STUCK)
        assert ask(client, b"end\n") == b"end\n"
        client.close()
        assert draining.end().cut == ()


@pytest.mark.parametrize("mode", [HERE, PATCHED])
def test_daemon_threads_may_finish_too(alone, mode: str) -> None:
    alone(mode, drain_daemons)
