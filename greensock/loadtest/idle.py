"""Idle clients beside the load, held in locust's process but not by locust users."""

from __future__ import annotations

from collections.abc import Callable

from gevent.pool import Pool
from locust.env import Environment

from greensock.loadtest.clients.client import SocketClient
from greensock.loadtest.collector import COLLECTOR

#: Clients opened at a time; the server's backlog (often 128, at most 4,096) holds that many.
OPENING = 100

#: The counter of clients that were lost while they were idle.
LOST = "idle clients lost"


class IdleSwarm:
    """Connected, silent clients: 1.2 KiB of this process each, where a locust user takes 19.

    Each has one exchange, which proves that the server serves it: the kernel connects clients
    that the server has not yet accepted. The connects and exchanges are rows of locust's tables.

        @events.test_start.add_listener
        def hold_idle_clients(environment, **_):
            swarm = IdleSwarm(environment, environment.host)
            swarm.open(2000, lambda client: client.exchange(b"hello\\n", "first exchange"))

    Args:
        environment: locust's.
        url: tcp://, tls:// or unix:.
        timeout: seconds for each connect, send and receive; None: no limit.

    Resources: the connections stay open until `close`. In a distributed test each worker holds
    its own; the master, at whose test_start there are no users, should hold none.
    """

    def __init__(self, environment: Environment, url: str, *, timeout: float | None = 10.0) -> None:
        self._environment = environment
        self._url = url
        self._timeout = timeout
        self._clients: list[SocketClient] = []

    def __len__(self) -> int:
        """How many clients are held."""
        return len(self._clients)

    def open(self, number: int, prove: Callable[[SocketClient], object]) -> int:
        """Open so many clients and let `prove` do an exchange with each; returns how many stay.

        A client is dropped when its connect fails, or its connection is closed after `prove`.
        """
        pool = Pool(OPENING)
        for _ in range(number):
            pool.spawn(self._open_one, prove)
        pool.join()
        return len(self._clients)

    def _open_one(self, prove: Callable[[SocketClient], object]) -> None:
        client = SocketClient(
            self._url,
            self._environment.events.request,
            connection_timeout=self._timeout,
            network_timeout=self._timeout,
            count=COLLECTOR.count,
        )
        prove(client)
        if client.connected:
            self._clients.append(client)

    def count_lost(self) -> int:
        """How many clients the server has closed, or sent something to; counted as LOST, too."""
        lost = sum(not client.is_silent() for client in self._clients)
        for _ in range(lost):
            COLLECTOR.count(LOST)
        return lost

    def close(self) -> None:
        for client in self._clients:
            client.close()
        self._clients.clear()
