"""Datagrams: each is answered, and the socket stays as it was."""

import os
import socket
from typing import Any

import gevent
import pytest
from gevent import monkey

from greensock import (
    DatagramRequestHandler,
)
from greensock.testing import running

from ..separate_process import (
    LIBUV,
    PATCHED,
    STUCK,
    UNPATCHED,
)
from ..server_kinds import (
    ANY_PORT,
    FORKING,
    GREENLET,
    THREADING,
    UDP,
    UNIX_DATAGRAM,
    everywhere,
    server_class,
    under_every_mixin,
)

pytest_plugins = ["tests.alone"]

OriginalSocket: Any = monkey.get_original("socket", "socket")


class EchoDatagram(DatagramRequestHandler):
    def handle(self) -> None:
        self.wfile.write(self.rfile.read())


def echo_datagrams(mixin: str, count: int) -> None:
    server = server_class(mixin, UDP)(ANY_PORT, EchoDatagram)
    was_blocking = os.get_blocking(server.fileno())
    modes = set()
    received: set[bytes] = set()
    with running(server) as address, socket.socket(type=socket.SOCK_DGRAM) as client:
        client.settimeout(STUCK)
        client.connect(address)
        for first in range(0, count, 50):
            # Fewer at once than the kernel's buffers hold, so that none is lost.
            for number in range(first, first + 50):
                client.send(b"%d" % number)
            received.update(client.recv(100) for _ in range(50))
            modes.add(os.get_blocking(server.fileno()))
        client.send(b"")
        assert client.recv(100) == b""
    counted = server.stats()
    assert (counted.accepted, counted.open, counted.busy) == (count + 1, 0, 0)
    assert received == {b"%d" % number for number in range(count)}
    assert modes == {was_blocking}


@everywhere
@under_every_mixin
def test_every_datagram_is_answered(alone, mode: str, mixin: str) -> None:
    # A child for each costs 2 ms.
    alone(mode, echo_datagrams, mixin, 100 if mixin == FORKING else 1000)


def answer_one_who_does_not_read(mixin: str, folder: str) -> None:
    """A Unix client whose queue is full blocks its own handlers only."""
    path = f"{folder}/server-{mixin}-{os.getpid()}"
    server = server_class(mixin, UNIX_DATAGRAM)(path, EchoDatagram)
    names = [f"{path}-{name}" for name in ("deaf", "client")]
    deaf, client = (socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(2))
    with running(server), deaf, client:
        deaf.bind(names[0])
        client.bind(names[1])
        for sock in (deaf, client):
            sock.settimeout(STUCK)
        backlog = 100
        for _ in range(backlog):
            send_datagram(deaf, b"x", path)
        send_datagram(client, b"y", path)
        assert client.recv(10) == b"y"
        for _ in range(backlog):
            assert deaf.recv(10) == b"x"
    for name in (path, *names):
        os.unlink(name)


def send_datagram(sock: socket.socket, data: bytes, path: str) -> None:
    # gevent's sendto waits once for a full queue, and then returns 0.
    while not sock.sendto(data, path):
        gevent.sleep(0.001)


@pytest.mark.parametrize("mode", [UNPATCHED, PATCHED, LIBUV])
@pytest.mark.parametrize("mixin", [GREENLET, THREADING])
def test_datagram_client_who_does_not_read_blocks_itself(
    alone, mode: str, mixin: str, tmp_path: Any
) -> None:
    alone(mode, answer_one_who_does_not_read, mixin, str(tmp_path))
