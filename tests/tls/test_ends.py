"""How TLS sessions end: politely, raggedly, unwrapped, by garbage."""

import contextlib
import socket
import ssl
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from greensock import StreamRequestHandler

from ..clients import eventually
from ..server_kinds import (
    ANY_PORT,
    CONCURRENT,
    GREENLET,
    NONE,
    TCP,
    THREADING,
    UNIX_STREAM,
    Echo,
    make_server,
    server_class,
    without_children,
)
from .certificates import BioClient, TlsClient, server_context

PARKING = (NONE, GREENLET, THREADING)


class Leaving(StreamRequestHandler):
    """Notes how its client's stream ended."""

    def handle(self) -> None:
        try:
            ending = repr(self.rfile.read())
        except OSError as error:
            ending = type(error).__name__
        self.server.endings.append(ending)


def leave_politely(client: BioClient) -> None:
    with pytest.raises(ssl.SSLWantReadError):
        client.tls.unwrap()
    client.flush()
    # The server answers with its own close_notify.
    client.pull()


def stop_sending(client: BioClient) -> None:
    client.plain.shutdown(socket.SHUT_WR)
    client.pull()


def close(client: BioClient) -> None:
    """With session tickets that it has not read: behind its end comes a reset."""
    client.close()


@contextlib.contextmanager
def noting_ends(mixin: str, recipe: str, layer: str) -> Iterator[Any]:
    """A server, on which a ragged end is an error if its listener was wrapped."""
    context = server_context()
    if layer == UNIX_STREAM:
        # Without tickets: there the reset may overtake the end.
        context.num_tickets = 0
    attributes = {"ssl_context": context} if recipe == "attribute" else {}
    kind = type("Noting", (server_class(mixin, layer),), attributes)
    with tempfile.TemporaryDirectory() as folder:
        server = kind(f"{folder}/socket" if layer == UNIX_STREAM else ANY_PORT, Leaving)
        if recipe == "wrapped":
            server.socket = context.wrap_socket(
                server.socket, server_side=True, suppress_ragged_eofs=False
            )
        server.endings = []
        yield server


@without_children
@pytest.mark.parametrize("layer", [TCP, UNIX_STREAM])
@pytest.mark.parametrize(
    ("recipe", "leave", "ending"),
    [
        ("attribute", leave_politely, "b'x'"),
        ("attribute", stop_sending, "b'x'"),
        ("attribute", close, "b'x'"),
        ("wrapped", leave_politely, "b'x'"),
        ("wrapped", stop_sending, "SSLEOFError"),
        ("wrapped", close, "SSLEOFError"),
    ],
)
def test_ragged_end_is_what_the_context_says(
    serving: Any,
    mixin: str,
    layer: str,
    recipe: str,
    leave: Callable[[BioClient], None],
    ending: str,
) -> None:
    with noting_ends(mixin, recipe, layer) as server, BioClient(serving(server)) as client:
        client.shake_hands()
        client.plain.sendall(client.record(b"x"))
        leave(client)
        eventually(lambda: server.endings)
    assert server.endings == [ending]


@without_children
@pytest.mark.parametrize("recipe", ["attribute", "wrapped"])
def test_reset_is_no_more_than_an_end(serving: Any, mixin: str, recipe: str) -> None:
    """Before Python 3.13 a reset was a ragged end to its ssl module, and it is to us."""
    with noting_ends(mixin, recipe, TCP) as server, BioClient(serving(server)) as client:
        client.shake_hands()
        # The session tickets: the server has finished its handshake too.
        client.pull()
        client.plain.reset()
        eventually(lambda: server.endings)
    assert server.endings[0] in ("b''", "SSLEOFError", "ConnectionResetError")
    assert server.stats().errors == 0


class Unwrapping(StreamRequestHandler):
    """Goes on in the clear."""

    def handle(self) -> None:
        self.wfile.write(self.rfile.readline())
        plain = self.request.unwrap()
        plain.sendall(b"in the clear: " + plain.recv(100))


@pytest.mark.parametrize("mixin", CONCURRENT)
def test_session_can_be_unwrapped(serving: Any, mixin: str) -> None:
    with TlsClient(serving(make_server(mixin, Unwrapping, ssl_context=server_context()))) as client:
        assert client.ask(b"x\n") == b"x\n"
        client.tls.unwrap()
        client.plain.sendall(b"y\n")
        assert client.plain.recv(100) == b"in the clear: y\n"


@pytest.mark.parametrize("mixin", PARKING)
def test_garbage_ends_its_client_only(serving: Any, mixin: str, capfd: Any) -> None:
    """In a session, parked or being read from: no traceback, whose fault it is being clear."""
    server = make_server(mixin, Echo, ssl_context=server_context())
    address = serving(server)
    with BioClient(address) as parked, BioClient(address) as reading, TlsClient(address) as other:
        for client in (parked, reading):
            client.shake_hands()
        reading.plain.sendall(reading.record(b"no end of line"))
        for client in (parked, reading):
            client.plain.sendall(b"\x17\x03\x03\x00\x20" + bytes(32))
        eventually(lambda: server.stats().open == 1)
        assert other.ask(b"x\n") == b"x\n"
    assert server.stats().errors == 0
    assert server.stats().disconnects >= 1
    assert capfd.readouterr().err == ""
