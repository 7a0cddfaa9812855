"""A pytest plugin for *_cases.py: what a client reports, and servers for it.

Locust monkey-patches the process that imports it, so this is loaded before anything else, with
`-p`, in a process of its own (test_client.py).
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import locust  # noqa: F401  (before anything that it patches)
import pytest
from gevent.pool import Pool
from gevent.server import StreamServer
from locust.event import EventHook

from greensock.loadtest import DatagramClient, SocketClient


class Rows:
    """What was reported to locust."""

    def __init__(self) -> None:
        self.event = EventHook()
        self.event.add_listener(self.add)
        self.events: list[dict[str, Any]] = []
        self.counters: list[str] = []
        self.clients: list[SocketClient] = []

    def stream(self, url: str, **options: Any) -> SocketClient:
        """A client that reports here, closed when the test ends."""
        client = SocketClient(url, self.event, count=self.counters.append, **options)
        self.clients.append(client)
        return client

    def datagrams(self, url: str, **options: Any) -> DatagramClient:
        client = DatagramClient(url, self.event, count=self.counters.append, **options)
        self.clients.append(client)
        return client

    def add(self, **event: Any) -> None:
        self.events.append(event)

    @property
    def names(self) -> list[tuple[str, str | None]]:
        return [
            (event["name"], type(event["exception"]).__name__ if event["exception"] else None)
            for event in self.events
        ]


def open_sockets() -> int:
    links = []
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # the descriptor of the listing itself
            links.append(os.readlink(f"/proc/self/fd/{fd}"))
    return sum(link.startswith("socket:") for link in links)


@pytest.fixture
def rows() -> Iterator[Rows]:
    before = open_sockets()
    rows = Rows()
    yield rows
    for client in rows.clients:
        client.close()
    with gevent.Timeout(10, AssertionError("sockets are left open")):
        while open_sockets() > before:
            gevent.sleep(0.005)


@contextlib.contextmanager
def serving(handle: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that calls handle with each connection, and closes it."""

    def run(sock: socket.socket, _address: object) -> None:
        with contextlib.suppress(OSError):
            handle(sock)
        sock.close()

    server = StreamServer(("127.0.0.1", 0), run, spawn=Pool())
    server.start()
    try:
        yield f"tcp://127.0.0.1:{server.server_port}"
    finally:
        server.stop(timeout=0)


def echo(sock: socket.socket) -> None:
    while data := sock.recv(65536):
        sock.sendall(data)


def sends(*parts: bytes) -> Callable[[socket.socket], None]:
    """Sends the parts, a moment apart so that they arrive one by one, and ends."""

    def handle(sock: socket.socket) -> None:
        for part in parts:
            sock.sendall(part)
            gevent.sleep(0.01)

    return handle


@contextlib.contextmanager
def refused_port() -> Iterator[int]:
    """A port that nobody listens at, kept from others."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]
