"""Echo in a closed loop: each client sends its line again as soon as it was answered."""

import select
import time
from typing import Any

from .clients import LINE_SIZE, RECEIVE_SIZE, Client
from .window import measure_window

SILENCE = 0.25  # seconds without any answer after which unanswered datagrams count as lost


class EchoLoad:
    """Drives clients that are open already, streams and datagram sockets alike.

    Sockets are registered edge-triggered: the kernel then need not look at each of them again at
    the next wait, which is what lets one Python process keep up with a bare epoll server.
    """

    def __init__(self, clients: list[Client], *, datagrams: bool = False) -> None:
        self._datagrams = datagrams
        top = max(client.socket.fileno() for client in clients) + 1
        self._receive: list[Any] = [None] * top
        self._send: list[Any] = [None] * top
        self._lines = [b""] * top
        self._sent_at = [0] * top
        self._partial: dict[int, bytes] = {}
        self._poll = select.epoll()
        self._open = {client.socket.fileno() for client in clients}
        self.lost = 0
        self.wrong = 0
        for client in clients:
            fd = client.socket.fileno()
            self._receive[fd], self._send[fd] = client.socket.recv, client.socket.send
            self._lines[fd] = client.line
            self._poll.register(fd, select.EPOLLIN | select.EPOLLET)

    def measure(
        self, server_pid: int, warmup: float, seconds: float, attempts: int
    ) -> dict[str, Any]:
        """Run for the warm-up, then for the time that counts (both in seconds)."""
        for fd in self._open:
            self._sent_at[fd] = time.perf_counter_ns()
            self._send[fd](self._lines[fd])
        self._run(warmup)
        self.lost = self.wrong = 0
        figures = measure_window(server_pid, lambda: self._run(seconds), attempts)
        self._poll.close()
        return figures | {"lost": self.lost, "wrong": self.wrong}

    def _run(self, seconds: float) -> list[int]:
        """The hot loop; its names are local because each look-up is paid 100,000 times a second."""
        receive, send, lines, sent_at = self._receive, self._send, self._lines, self._sent_at
        wait, clock = self._poll.poll, time.perf_counter_ns
        latencies: list[int] = []
        record = latencies.append
        end = clock() + int(seconds * 1e9)
        now = clock()
        while now < end:
            events = wait(SILENCE)
            for fd, _ in events:
                try:
                    data = receive[fd](RECEIVE_SIZE)
                    now = clock()
                    if data == lines[fd]:
                        record(now - sent_at[fd])
                        sent_at[fd] = now
                        send[fd](data)
                        continue
                except OSError:
                    data = b""
                self._repair(fd, data)
            if not events:
                now = clock()
                self._resend()
        return latencies

    def _repair(self, fd: int, data: bytes) -> None:
        """Put an answer in pieces together; count a wrong one, or the end of the stream."""
        data = self._partial.pop(fd, b"") + data
        if data == self._lines[fd]:
            self._sent_at[fd] = time.perf_counter_ns()
            self._send[fd](data)
        elif data and len(data) < LINE_SIZE:
            self._partial[fd] = data
        else:
            self.wrong += bool(data)
            self.lost += not data
            self._poll.unregister(fd)
            self._open.discard(fd)

    def _resend(self) -> None:
        if self._datagrams:
            for fd in self._open:
                self.lost += 1
                self._sent_at[fd] = time.perf_counter_ns()
                self._send[fd](self._lines[fd])
