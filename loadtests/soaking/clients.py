"""The good clients of a soak: each checks every byte that it is answered."""

from __future__ import annotations

import contextlib
import itertools
import socket
import ssl
import threading
import time
from collections.abc import Callable

from loadtests.soaking import stage as stages
from loadtests.soaking.counting import CountedSocket
from loadtests.soaking.stage import Stage

#: Between two exchanges of a client: a soak is to be long, not fast.
PAUSE = 0.02

_numbers = itertools.count(1)


class Client(threading.Thread):
    """Goes on until told to stop, whatever happens to its connections.

    Args:
        converse: one connection's worth: returns when `over` is set.
        kind: of the server that it talks to.
    """

    def __init__(
        self, name: str, converse: Callable[[Client], None], stage: Stage, kind: str
    ) -> None:
        super().__init__(name=name, daemon=True)
        self._converse = converse
        self.stage = stage
        self.kind = kind
        self.over = stage.over
        self.count = stage.count
        #: The TLS session to be resumed.
        self.session: ssl.SSLSession | None = None

    def run(self) -> None:
        while not self.over.is_set():
            try:
                self._converse(self)
            except TimeoutError:
                self.count.hung.append(f"{self.name}: no answer within {stages.PATIENCE:g} s")
            except OSError as error:
                self.count.broken.append(f"{self.name}: {error}")
                # Not as fast as it can: the server may have no descriptors left.
                time.sleep(0.05)

    def connect(self) -> CountedSocket:
        sock = self.stage.connect(self.kind)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def exchange(self, sock: socket.socket) -> None:
        """Send a line, and check that it comes back."""
        line = new_line()
        sock.sendall(line)
        self.check(receive(sock, len(line)), line)

    def check(self, received: bytes, expected: bytes) -> None:
        """Count an answer.

        Raises:
            ConnectionError: it is cut off, and so far right.
        """
        if received == expected:
            self.count.answered += 1
        elif expected.startswith(received):
            raise ConnectionError(f"answer cut off after {len(received)} bytes")
        else:
            self.count.wrong.append(f"{self.name}: {received!r} in place of {expected!r}")
            raise ConnectionError("wrong answer")

    def pause(self) -> None:
        self.over.wait(PAUSE)


def receive(sock: socket.socket, size: int) -> bytes:
    """`size` bytes, or fewer at the end of the stream."""
    data = b""
    while len(data) < size:
        part = sock.recv(size - len(data))
        if not part:
            break
        data += part
    return data


def new_line() -> bytes:
    return b"line %d of a soak\n" % next(_numbers)


def echo(client: Client) -> None:
    """Exchanges on one connection."""
    with client.connect() as sock:
        while not client.over.is_set():
            client.exchange(sock)
            client.pause()


def churn(client: Client) -> None:
    """One exchange for each connection."""
    with client.connect() as sock:
        client.exchange(sock)
    client.pause()


def slow(client: Client) -> None:
    """A line byte by byte, and no hurry to read the answer either."""
    line = new_line()
    with client.connect() as sock:
        for place in range(len(line)):
            sock.sendall(line[place : place + 1])
            time.sleep(0.02)
        client.check(b"".join(receive(sock, 1) for _ in line), line)


def bulk(client: Client) -> None:
    """Many lines at once, which the server writes while they are being sent."""
    lines = b"".join(new_line() for _ in range(2000))
    with client.connect() as sock:
        sender = threading.Thread(target=_send, args=(sock, lines))
        sender.start()
        received = receive(sock, len(lines))
        sender.join()
        client.check(received, lines)
    client.over.wait(0.2)


def _send(sock: socket.socket, data: bytes) -> None:
    # How it failed, the receiving side finds out.
    with contextlib.suppress(OSError):
        sock.sendall(data)


def page(client: Client) -> None:
    """Requests over HTTP with keep-alive; each answer is the path asked for."""
    with client.connect() as sock, sock.makefile("rb") as reader:
        while not client.over.is_set():
            path = b"/%d" % next(_numbers)
            sock.sendall(b"GET %s HTTP/1.1\r\nHost: here\r\n\r\n" % path)
            length = 0
            while (head := reader.readline()) not in (b"\r\n", b""):
                name, _, value = head.partition(b":")
                if name.lower() == b"content-length":
                    length = int(value)
            client.check(reader.read(length), path)
            client.pause()


def listen(client: Client) -> None:
    """Hear what a parked client is sent: every number, in order."""
    with client.connect() as sock, sock.makefile("rb") as reader:
        expected = 0
        while not client.over.is_set():
            line = reader.readline()
            client.check(line, b"tick %d\n" % expected)
            expected += 1


def datagrams(client: Client) -> None:
    """Exchanges of datagrams, which may be lost, but not altered."""
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.settimeout(1.0)
        sock.connect(client.stage.addresses[client.kind])
        while not client.over.is_set():
            data = new_line()
            sock.send(data)
            try:
                client.check(sock.recv(65536), data)
            except TimeoutError:
                client.count.lost_datagrams += 1
                return  # its answer may yet come, and be taken for another's
            client.pause()
