"""What tests do as a server's client, and waiting for facts that nobody announces."""

import contextlib
import ctypes
import os
import socket
import struct
import time
from collections.abc import Callable, Iterator
from typing import Any

from .separate_process import STUCK


class Client(socket.socket):
    """A client's socket.

    Closing it says so to the server even where a child of a test's own process holds it as well.
    """

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.shutdown(socket.SHUT_RDWR)
        super().close()

    def reset(self) -> None:
        """Close so that the server sees an error, not an end."""
        self.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        super().close()


def disconnect(client: socket.socket) -> None:
    """Reset a connection over TCP, whoever else holds its socket.

    A close resets nothing that a child of a test's own process holds as well. And a shutdown of
    both ways may leave a closed window behind, through which the server sends for a minute without
    being told that nobody is there (seen with Python 3.14, whose files send 128 KiB at a time).
    """
    nowhere = bytes(16)
    assert ctypes.CDLL(None).connect(client.fileno(), nowhere, len(nowhere)) == 0
    client.close()


def connect(address: Any) -> Client:
    """A client of the server at `address`: a path for Unix sockets, else host and port."""
    client = Client(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
    client.settimeout(STUCK)
    try:
        client.connect(address)
    except BaseException:
        client.close()
        raise
    return client


def receive_line(client: socket.socket) -> bytes:
    """One line, or what came before the end of the stream."""
    line = b""
    while not line.endswith(b"\n"):
        byte = client.recv(1)
        if not byte:
            break
        line += byte
    return line


def receive_all(client: socket.socket) -> bytes:
    """Everything up to the end of the stream."""
    data = b""
    while part := client.recv(65536):
        data += part
    return data


def ask(client: socket.socket, line: bytes) -> bytes:
    """The line that answers `line`."""
    client.sendall(line)
    return receive_line(client)


def answer_of(address: Any, line: bytes) -> bytes:
    """What a new client of `address` is answered."""
    with connect(address) as client:
        return ask(client, line)


@contextlib.contextmanager
def clients(address: Any, count: int) -> Iterator[list[Client]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(connect(address)) for _ in range(count)]


def eventually(condition: Callable[[], Any]) -> None:
    """Wait for a fact that the server brings about and that nothing announces."""
    deadline = time.monotonic() + STUCK
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.002)


def is_kept_while_it_speaks(address: Any, timeout: float) -> bool:
    """Speak in time, beyond the server's timeout; False where the machine was too busy for that."""
    asked = time.monotonic()
    end = asked + 2.5 * timeout
    with connect(address) as client:
        while time.monotonic() < end:
            before, asked = asked, time.monotonic()
            answer = b""
            with contextlib.suppress(ConnectionError):
                answer = ask(client, b"y\n")
            if answer != b"y\n":
                assert time.monotonic() - before >= timeout, "closed, and was not silent"
                return False
            time.sleep(timeout / 10)
    return True


def exchange(client: socket.socket, question: bytes, answer: bytes) -> None:
    client.sendall(question)
    received = b""
    while not received.endswith(answer):
        part = client.recv(4096)
        assert part, received
        received += part


def wait_until_parked(server: Any, count: int) -> None:
    eventually(lambda: server.stats().parked == count == server.stats().open)


def wait_until_silent(server: Any, count: int) -> None:
    """Wait until `count` children that keep their client wait for it."""
    runner = server._greensock.runner
    eventually(
        lambda: sum(child.mark.silent_since > 0 for child in runner.kept_children()) == count
    )


def descriptors() -> dict[int, str]:
    """This process's open descriptors and what each refers to."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
    return found
