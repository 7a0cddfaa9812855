"""How TLS sessions end: politely, raggedly, unwrapped, by garbage."""

import ssl
from typing import Any

import pytest

from greensock import StreamRequestHandler

from ..clients import eventually
from ..server_kinds import CONCURRENT, GREENLET, NONE, THREADING, Echo, make_server
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


@pytest.mark.parametrize("mixin", [GREENLET, THREADING])
@pytest.mark.parametrize(
    ("recipe", "politely", "ending"),
    [
        ("attribute", True, "b'x'"),
        ("attribute", False, "b'x'"),
        ("wrapped", True, "b'x'"),
        ("wrapped", False, "SSLEOFError"),
    ],
)
def test_ragged_end_is_what_the_context_says(
    serving: Any, mixin: str, recipe: str, politely: bool, ending: str
) -> None:
    if recipe == "attribute":
        server = make_server(mixin, Leaving, ssl_context=server_context())
    else:
        server = make_server(mixin, Leaving)
        server.socket = server_context().wrap_socket(
            server.socket, server_side=True, suppress_ragged_eofs=False
        )
    server.endings = []
    with BioClient(serving(server)) as client:
        client.shake_hands()
        client.plain.sendall(client.record(b"x"))
        if politely:
            with pytest.raises(ssl.SSLWantReadError):
                client.tls.unwrap()
            client.flush()
            # The server answers with its own close_notify.
            client.pull()
    eventually(lambda: server.endings)
    assert server.endings == [ending]


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
