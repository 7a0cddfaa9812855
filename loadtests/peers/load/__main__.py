"""``python -m loadtests.peers.load SCHEME HOST PORT SERVER_PID``: commands in, answers out.

A command is a JSON object; its member ``do`` names a method of `Generator`, the rest are its
arguments. Every command ends by itself; the process ends with its input.
"""

import gc
import json
import sys
from typing import Any

from .clients import (
    Client,
    close_clients,
    count_lost,
    open_clients,
    open_datagram_clients,
    open_silent_clients,
)
from .connect import ConnectLoad
from .echo import EchoLoad
from .flood import FloodLoad


class Generator:
    """The clients held open at one server, and the loads that can be put on it."""

    def __init__(self, scheme: str, address: tuple[str, int], server_pid: int) -> None:
        self._scheme = scheme
        self._address = address
        self._server_pid = server_pid
        self._idle: list[Client] = []

    def hold(self, count: int, deadline: float, silent: bool = False) -> dict[str, Any]:
        """Open idle clients until ``count`` are held; each has had one exchange, if not silent."""
        open_idle = open_silent_clients if silent else open_clients
        opened = open_idle(self._address, count - len(self._idle), deadline)
        self._idle += opened.clients
        return {"held": len(self._idle), "failed": opened.failed}

    def check(self) -> dict[str, Any]:
        """How many of the idle clients the server has closed, or sent something to."""
        return {"held": len(self._idle), "lost": count_lost(self._idle)}

    def release(self) -> dict[str, Any]:
        """Close the idle clients."""
        close_clients(self._idle)
        return {"held": 0}

    def echo(self, clients: int, warmup: float, seconds: float, attempts: int) -> dict[str, Any]:
        """Echo on so many clients, opened for it and closed after it."""
        if self._scheme == "udp":
            driven = open_datagram_clients(self._address, clients)
        else:
            opened = open_clients(self._address, clients, deadline_seconds=10 + clients / 200)
            driven = opened.clients
            if opened.failed:
                raise ConnectionError(f"{opened.failed} of {clients} clients were not answered")
        try:
            load = EchoLoad(driven, datagrams=self._scheme == "udp")
            return load.measure(self._server_pid, warmup, seconds, attempts)
        finally:
            close_clients(driven)

    def connect(
        self, at_once: int, warmup: float, seconds: float, attempts: int, count: int | None = None
    ) -> dict[str, Any]:
        """Connect, ask, close, so many at once."""
        load = ConnectLoad(self._address, at_once)
        return load.measure(self._server_pid, warmup, seconds, attempts, count)

    def flood(self, warmup: float, seconds: float, attempts: int) -> dict[str, Any]:
        """One client floods, another asks one at a time."""
        opened = open_clients(self._address, 2, deadline_seconds=10)
        try:
            if opened.failed:
                raise ConnectionError(f"{opened.failed} of 2 clients were not answered")
            return FloodLoad(*opened.clients).measure(self._server_pid, warmup, seconds, attempts)
        finally:
            close_clients(opened.clients)


def main() -> None:
    scheme, host, port, server_pid = sys.argv[1:]
    generator = Generator(scheme, (host, int(port)), int(server_pid))
    # A collection over 18,000 clients takes milliseconds, which would be charged to the server;
    # nothing here makes cycles.
    gc.disable()
    for line in sys.stdin:
        command = json.loads(line)
        try:
            answer = getattr(generator, command.pop("do"))(**command)
        except OSError as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
