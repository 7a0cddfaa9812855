"""close_notify where the client has left the kernel no room for it."""

import contextlib
import os
import socket
import ssl
import struct
import tempfile
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from greensock import StreamRequestHandler
from greensock.net.listening import is_readable
from greensock.testing import running

from ..clients import eventually
from ..separate_process import HERE, LIBUV, PATCHED
from ..server_kinds import (
    FORKING,
    GREENLET,
    NONE,
    THREADING,
    UNIX_STREAM,
    server_class,
    under_every_mixin,
)
from .certificates import TlsClient, server_context

pytest_plugins = ["tests.alone"]

#: Linux: what a socket's buffers hold, as `struct sk_meminfo` says.
SO_MEMINFO = 55


def has_room(sock: Any) -> bool:
    """Whether the kernel would take another byte of this Unix socket.

    Nobody can tell of a TCP socket, which takes some also when its buffer is full.
    """
    facts = sock.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, 36)
    allocated, size = struct.unpack("=9I", facts)[2:4]
    return bool(allocated < size)


class Filling(StreamRequestHandler):
    """Sends until the kernel has no room for another byte, and is done."""

    def handle(self) -> None:
        command = self.rfile.readline()
        self.wfile.write(command)
        if command == b"fill\n":
            self.request.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
            while has_room(self.request):
                self.request.sendall(b"x" * 1000)
            self.wfile.flush()

    def finish(self) -> None:
        super().finish()
        os.write(self.server.done, b"!")


@contextlib.contextmanager
def filled(mixin: str, **attributes: Any) -> Iterator[tuple[Any, TlsClient]]:
    """A server, and a client of it who has read nothing and is about to be closed."""
    reading, writing = os.pipe()
    attributes |= {"ssl_context": server_context(), "done": writing}
    kind = type("Filled", (server_class(mixin, UNIX_STREAM),), attributes)
    with tempfile.TemporaryDirectory() as folder:
        server = kind(f"{folder}/socket", Filling)
        with (
            running(server) as address,
            TlsClient(address, suppress_ragged_eofs=False) as client,
        ):
            client.tls.sendall(b"fill\n")
            eventually(lambda: is_readable(reading))
            yield server, client
    os.close(reading)
    os.close(writing)


#: How a stream ends for a client, too, if OpenSSL 3.5 can send no alert to who has closed.
RAGGED_END = (ssl.SSLEOFError, ConnectionResetError, BrokenPipeError)


def read_all(client: TlsClient) -> int:
    """How many bytes come before the end of the stream, which is no ragged one."""
    count = 0
    while part := client.tls.recv(65536):
        count += len(part)
    return count


def end_politely(mixin: str) -> None:
    with filled(mixin) as (server, client):
        assert read_all(client) > 10_000
        eventually(lambda: server.stats().open == 0)


@pytest.mark.parametrize("mode", [HERE, PATCHED, LIBUV])
@under_every_mixin
def test_last_word_waits_for_room(alone, mode: str, mixin: str) -> None:
    alone(mode, end_politely, mixin)


def never_read(mixin: str, limits: dict[str, float | None]) -> None:
    with filled(mixin, **limits) as (server, client):
        with TlsClient(server.server_address) as other:
            # Meanwhile, also where one client is served after the other.
            assert other.ask(b"x\n") == b"x\n"
        eventually(lambda: server.stats().open == 0)
        with pytest.raises(RAGGED_END):
            read_all(client)


@pytest.mark.parametrize("mode", [HERE, PATCHED, LIBUV])
@under_every_mixin
def test_client_who_never_reads_holds_nobody(alone, mode: str, mixin: str) -> None:
    alone(mode, never_read, mixin, {"write_timeout": 0.3})


@pytest.mark.parametrize("mixin", [NONE, GREENLET, THREADING, FORKING])
def test_drain_waits_for_last_words(mixin: str) -> None:
    with filled(mixin) as (server, client):
        draining = threading.Thread(target=server.drain, args=(20,))
        draining.start()
        eventually(lambda: server.draining)
        assert read_all(client) > 10_000
        draining.join()


@pytest.mark.parametrize("mixin", [NONE, GREENLET])
@pytest.mark.parametrize("ending", ["drain", "shutdown"])
def test_end_of_the_server_is_the_end_of_waiting(mixin: str, ending: str) -> None:
    with filled(mixin) as (server, client):
        eventually(lambda: server.stats().open == 1)
        if ending == "drain":
            assert server.drain(0.1)[:3] == (1, 0, ())
        else:
            server.shutdown()
        assert server.stats().open == 0
        with pytest.raises(RAGGED_END):
            read_all(client)
