"""drain() may be called from anywhere; where waiting would be a deadlock, it does not wait."""

import threading
from typing import Any

import gevent
import gevent.socket
import pytest

from ..clients import ask, connect, receive_all
from ..separate_process import HERE, LIBUV, PATCHED
from ..server_kinds import GREENLET, NONE, THREADING, Echo, make_server, under_every_mixin

pytest_plugins = ["tests.alone"]


class DrainsItsServer(Echo):
    def handle_one_request(self) -> None:
        self.rfile.readline()
        self.wfile.write(f"{self.server.drain(20)}\n".encode())


@pytest.mark.parametrize("mode", [HERE, PATCHED, LIBUV])
@pytest.mark.parametrize("mixin", [NONE, GREENLET, THREADING])
def test_handler_may_drain_its_server(alone, mode: str, mixin: str) -> None:
    alone(mode, drain_from_handler, mixin)


def drain_from_handler(mixin: str) -> None:
    server = make_server(mixin, DrainsItsServer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    with connect(server.server_address) as client:
        assert ask(client, b"x\n") == b"None\n"
        assert receive_all(client) == b""
    thread.join()
    server.server_close()


def drain_from_where_nobody_can_wait(mixin: str, place: str) -> None:
    """A caller whom the drain itself needs would wait for its whole time."""
    answers: list[Any] = []

    def on_drain(self: Any, handler: Any) -> None:
        if place == "on_drain":
            answers.append(self.drain(20))

    def service_actions(self: Any) -> None:
        if place == "service_actions" and self.stats().parked and not answers:
            answers.append(self.drain(20))

    server = make_server(mixin, Echo, on_drain=on_drain, service_actions=service_actions)
    with connect(server.server_address) as client:

        def ask_and_begin() -> None:
            gevent.socket.wait_write(client.fileno())
            client.sendall(b"x\n")
            gevent.socket.wait_read(client.fileno())
            assert client.recv(2) == b"x\n"
            while not (server.stats().parked or server.draining):
                gevent.sleep(0.001)
            if place == "hub callback":
                # As a signal's handler that Python calls amid one.
                gevent.get_hub().loop.run_callback(lambda: answers.append(server.drain(20)))
            elif place == "on_drain":
                gevent.spawn(server.drain, 20)

        asking = gevent.spawn(ask_and_begin)
        server.serve_forever(poll_interval=0.01)
        asking.get()
        server.server_close()
        assert receive_all(client) == b""
    assert answers == [None]


@pytest.mark.parametrize("mode", [HERE, PATCHED, LIBUV])
@pytest.mark.parametrize("place", ["hub callback", "on_drain", "service_actions"])
@under_every_mixin
def test_drain_returns_at_once_where_waiting_would_deadlock(
    alone, mode: str, mixin: str, place: str
) -> None:
    alone(mode, drain_from_where_nobody_can_wait, mixin, place)
