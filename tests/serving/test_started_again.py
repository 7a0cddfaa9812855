"""A server that was stopped can be started again at once, at the port that its clients leave."""

import errno
import socket
import threading
from typing import Any

import pytest

from greensock import KeepAliveRequestHandler, StreamRequestHandler, TCPServer

from ..clients import ask, connect, receive_all, wait_until_parked
from ..server_kinds import FORKING, Echo, patched_or_not, server_class, under_every_mixin

pytest_plugins = ["tests.alone"]


class Closing(KeepAliveRequestHandler):
    """Closes after its answer: before its client does."""

    def handle_one_request(self) -> None:
        self.wfile.write(self.rfile.readline())
        self.close_connection = True


class ClosingClassic(StreamRequestHandler):
    def handle(self) -> None:
        self.wfile.write(self.rfile.readline())


HANDLERS = {each.__name__: each for each in (Echo, Closing, ClosingClassic)}


def starts_again(mixin: str, name: str) -> None:
    cls, handler = server_class(mixin), HANDLERS[name]
    assert cls.allow_reuse_address is False
    address: Any = ("127.0.0.1", 0)
    for _ in range(3):
        server = cls(address, handler)
        address = server.server_address
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        with connect(address) as client:
            assert ask(client, b"x\n") == b"x\n"
            if name == "Echo" and mixin != FORKING:
                wait_until_parked(server, 1)
            # Another that listens there is in the way.
            with pytest.raises(OSError, match="in use") as raised:
                cls(address, handler)
            assert raised.value.errno == errno.EADDRINUSE
            server.drain(10)
            # It has closed first, and so has the port in TIME_WAIT.
            assert receive_all(client) == b""
        thread.join()
        server.server_close()


@patched_or_not
@under_every_mixin
@pytest.mark.parametrize("name", HANDLERS)
def test_server_starts_again_at_once(alone: Any, mode: str, mixin: str, name: str) -> None:
    alone(mode, starts_again, mixin, name)


def test_port_that_others_have_left_stays_theirs() -> None:
    """Of a listener that does not say that its port may be bound again."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        address = listener.getsockname()
        with socket.create_connection(address) as client:
            accepted, _ = listener.accept()
            accepted.close()
            assert client.recv(1) == b""
    with pytest.raises(OSError, match="in use"):
        TCPServer(address, Echo)


def test_other_errors_of_bind_are_as_they_were() -> None:
    for address in (("192.0.2.1", 1), ("127.0.0.1", 70000)):
        with socket.socket() as plain, pytest.raises(Exception) as expected:  # noqa: PT011
            plain.bind(address)
        with pytest.raises(type(expected.value)) as raised:
            TCPServer(address, Echo)
        assert str(raised.value) == str(expected.value)
