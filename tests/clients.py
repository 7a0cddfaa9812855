"""What tests do as a server's client, and waiting for facts that nobody announces."""

import contextlib
import os
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

from .separate_process import STUCK


def connect(address: Any) -> socket.socket:
    """A client of the server at `address`: a path for Unix sockets, else host and port."""
    client = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
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
def clients(address: Any, count: int) -> Iterator[list[socket.socket]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(connect(address)) for _ in range(count)]


def eventually(condition: Callable[[], Any]) -> None:
    """Wait for a fact that the server brings about and that nothing announces."""
    deadline = time.monotonic() + STUCK
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.002)


def descriptors() -> dict[int, str]:
    """This process's open descriptors and what each refers to."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
    return found
