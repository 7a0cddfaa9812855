"""Connect, ask, close: every exchange on a connection of its own, so many at once."""

import select
import socket
import time
from typing import Any

from .clients import RECEIVE_SIZE, line_of, new_stream
from .window import measure_window

STALL = 5.0  # seconds without any answer after which the run gives up


class ConnectLoad:
    """The client closes first, so it is the client's port that rests in TIME_WAIT."""

    def __init__(self, address: tuple[str, int], at_once: int) -> None:
        self._address = address
        self._line = line_of(at_once)
        self._poll = select.epoll()
        self._open: dict[int, tuple[socket.SocketType, int]] = {}
        self._at_once = at_once
        self.failed = 0

    def measure(
        self,
        server_pid: int,
        warmup: float,
        seconds: float,
        attempts: int,
        count: int | None = None,
    ) -> dict[str, Any]:
        """Run for the warm-up, then until ``seconds`` or ``count`` connections are over."""
        self._run(warmup, None)
        self.failed = 0
        figures = measure_window(server_pid, lambda: self._run(seconds, count), attempts)
        for client, _ in self._open.values():
            client.close()
        self._poll.close()
        return figures | {"failed": self.failed}

    def _run(self, seconds: float, count: int | None) -> list[int]:
        latencies: list[int] = []
        clock, line = time.perf_counter_ns, self._line
        now = clock()
        end = now + int(seconds * 1e9)
        limit = count if count is not None else 1 << 62
        while now < end and len(latencies) < limit:
            for _ in range(self._at_once - len(self._open)):
                self._ask()
            events = self._poll.poll(STALL)
            for fd, event in events:
                client, started_at = self._open[fd]
                try:
                    if event & select.EPOLLIN:
                        answered = client.recv(RECEIVE_SIZE) == line
                    else:
                        client.send(line)
                        self._poll.modify(fd, select.EPOLLIN)
                        continue
                except OSError:
                    answered = False
                now = clock()
                if answered:
                    latencies.append(now - started_at)
                else:
                    self.failed += 1
                del self._open[fd]
                client.close()
            if not events:
                self.failed += len(self._open)
                break
        return latencies

    def _ask(self) -> None:
        started_at = time.perf_counter_ns()
        client = new_stream()
        client.connect_ex(self._address)
        fd = client.fileno()
        self._open[fd] = client, started_at
        try:
            # Over loopback the handshake is over when connect() returns, so the line can go at
            # once, unless the listen queue was full.
            client.send(self._line)
        except BlockingIOError:
            self._poll.register(fd, select.EPOLLOUT)
        else:
            self._poll.register(fd, select.EPOLLIN)
