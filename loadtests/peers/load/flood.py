"""One client floods the server with lines while another asks one at a time and is timed."""

import select
import time
from typing import Any

from .clients import LINE_SIZE, RECEIVE_SIZE, Client
from .window import measure_window

# What the flooding client sends at most before the other one gets its turn in this process: about
# 30 us of work, so that what is timed is the server's fairness and not ours.
BURST = 256  # lines
TAKE = 65_536  # bytes read from the flooded answers at once


class FloodLoad:
    """The flooding client keeps both buffers of its connection full, and reads all it can."""

    def __init__(self, flooder: Client, asker: Client) -> None:
        self._flooder, self._asker = flooder.socket, asker.socket
        self._line = asker.line
        self._burst = memoryview(flooder.line * BURST)
        self._rest = self._burst
        self._poll = select.epoll()
        self._poll.register(self._flooder, select.EPOLLIN | select.EPOLLOUT)
        self._poll.register(self._asker, select.EPOLLIN)
        self._asked_at = 0
        self._flooded = 0

    def measure(
        self, server_pid: int, warmup: float, seconds: float, attempts: int
    ) -> dict[str, Any]:
        """Flood and ask for the warm-up, then for the time that counts (both in seconds)."""
        self._ask()
        self._run(warmup)
        self._flooded = 0
        start = time.perf_counter()
        figures = measure_window(server_pid, lambda: self._window(seconds), attempts)
        flooded = self._flooded / LINE_SIZE / (time.perf_counter() - start)
        self._poll.close()
        return figures | {"flooded_per_second": flooded}

    def _window(self, seconds: float) -> list[int]:
        latencies = self._run(seconds)
        # An exchange that is still unanswered has waited at least this long: leaving it out would
        # show a server that starves the asker altogether as one without any slow answer.
        return [*latencies, time.perf_counter_ns() - self._asked_at]

    def _run(self, seconds: float) -> list[int]:
        latencies: list[int] = []
        clock = time.perf_counter_ns
        end = clock() + int(seconds * 1e9)
        while clock() < end:
            for fd, event in self._poll.poll(0.1):
                if fd == self._asker.fileno():
                    if self._asker.recv(RECEIVE_SIZE) != self._line:
                        raise ConnectionError("the asking client was not answered with its line")
                    latencies.append(clock() - self._asked_at)
                    self._ask()
                else:
                    self._flood(event)
        return latencies

    def _ask(self) -> None:
        self._asked_at = time.perf_counter_ns()
        self._asker.send(self._line)

    def _flood(self, event: int) -> None:
        try:
            if event & select.EPOLLIN:
                self._flooded += len(self._flooder.recv(TAKE))
            if event & select.EPOLLOUT:
                self._rest = self._rest[self._flooder.send(self._rest) :] or self._burst
        except BlockingIOError:
            pass
