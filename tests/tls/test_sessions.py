"""What goes through a TLS request, and what a handler may ask of it."""

import datetime
import hashlib
import io
import socket
import ssl
import threading
from typing import Any

import pytest
import trustme

from greensock import BaseRequestHandler, StreamRequestHandler
from greensock.testing import running

from ..clients import eventually, wait_until_parked
from ..separate_process import HERE, PATCHED, Templates
from ..server_kinds import FORKING, GREENLET, MIXINS, NONE, THREADING, Echo, make_server
from .certificates import NAME, BioClient, TlsClient, authority, client_context, server_context

pytest_plugins = ["tests.alone"]

#: Many records, and more than the client's kernel takes without a reader.
LARGE = 2_048_000
PARKING = (NONE, GREENLET, THREADING)


class Counting(Echo):
    """An echo that counts its requests, and answers with the count."""

    requests = 0

    def handle_one_request(self) -> None:
        line = self.rfile.readline()
        self.requests += 1
        self.wfile.write(b"%d %s" % (self.requests, line))


class Sink(StreamRequestHandler):
    """Answers what it got with its size and digest."""

    def handle(self) -> None:
        digest, size = hashlib.sha256(), 0
        for _ in range(40):
            data = self.rfile.read(LARGE // 40)
            digest.update(data)
            size += len(data)
        self.wfile.write(b"%d %s\n" % (size, digest.hexdigest().encode()))


class Source(BaseRequestHandler):
    """Sends a lot, in two ways, and closes."""

    def handle(self) -> None:
        self.request.recv(1)
        self.request.sendall(bytes(range(256)) * (LARGE // 512))
        self.request.sendfile(io.BytesIO(bytes(range(256)) * (LARGE // 512)))


def up_and_down(mixin: str) -> None:
    data = bytes(range(256)) * (LARGE // 256)
    wanted = hashlib.sha256(data).hexdigest().encode()
    with (
        running(make_server(mixin, Sink, ssl_context=server_context())) as address,
        TlsClient(address) as client,
    ):
        client.tls.sendall(data)
        assert client.line() == b"%d %s\n" % (LARGE, wanted)
    download(make_server(mixin, Source, ssl_context=server_context()), wanted)


def download(server: Any, wanted: bytes) -> None:
    with running(server) as address, TlsClient(address, suppress_ragged_eofs=False) as client:
        client.plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        client.tls.sendall(b"x")
        received = b""
        while part := client.tls.recv(10_000):
            received += part
            if len(received) % 97 == 0:
                threading.Event().wait(0.001)
        assert hashlib.sha256(received).hexdigest().encode() == wanted


@pytest.mark.parametrize("mixin", MIXINS)
@pytest.mark.parametrize("mode", [HERE, PATCHED])
def test_large_transfers_arrive_whole_and_end_with_close_notify(
    alone: Templates, mode: str, mixin: str
) -> None:
    alone(mode, up_and_down, mixin)


@pytest.mark.parametrize("mixin", PARKING)
def test_no_byte_for_the_handler_no_turn(serving: Any, mixin: str) -> None:
    """Half a record, and the other half later, one byte at a time."""
    turns = []

    class Noting(Counting):
        def handle_one_request(self) -> None:
            turns.append(self.request.peek_now())
            super().handle_one_request()

    server = make_server(mixin, Noting, ssl_context=server_context())
    with BioClient(serving(server)) as client:
        client.shake_hands()
        wait_until_parked(server, 1)
        first, second = client.record(b"first\n"), client.record(b"second\n")
        client.plain.sendall(first[:1])
        client.plain.sendall(first[1:-1])
        # Parked again, after it was looked at.
        eventually(lambda: server._greensock.run is not None and server.stats().parked == 1)
        assert turns == []
        client.plain.sendall(first[-1:] + second[:3])
        assert client.read() == b"1 first\n"
        client.plain.sendall(second[3:])
        assert client.read() == b"2 second\n"
        assert turns == [b"f", b"s"]


@pytest.mark.parametrize("wbufsize", [0, -1])
@pytest.mark.parametrize("rbufsize", [0, -1])
@pytest.mark.parametrize("mixin", MIXINS)
def test_decrypted_bytes_are_never_parked_on(
    serving: Any, mixin: str, rbufsize: int, wbufsize: int
) -> None:
    """More requests in a record than one turn may hear, and a request over several records."""
    shape = {"rbufsize": rbufsize, "wbufsize": wbufsize}
    server = make_server(mixin, type("Shaped", (Counting,), shape), ssl_context=server_context())
    with BioClient(serving(server)) as client:
        client.shake_hands()
        count = 100 if rbufsize == 0 else 2000
        client.plain.sendall(client.record(b"12345\n" * count))
        answers = b""
        while answers.count(b"\n") < count:
            answers += client.read()
        assert answers.splitlines()[-1] == b"%d 12345" % count
        client.plain.sendall(
            client.record(b"in ") + client.record(b"three ") + client.record(b"\n")
        )
        assert client.read() == b"%d in three \n" % (count + 1)


@pytest.mark.parametrize("mixin", [GREENLET, THREADING])
def test_half_read_record_is_gone_on_with(serving: Any, mixin: str) -> None:
    """The handler itself reads into a record, and stops where its buffer ends and a line does."""
    server = make_server(mixin, Counting, ssl_context=server_context())
    with BioClient(serving(server)) as client:
        client.shake_hands()
        client.plain.sendall(client.record(b"a line in "))
        eventually(lambda: server.stats().busy == 1)
        client.plain.sendall(client.record(b"two\n" + b"abc\n" * 3000))
        answers = b""
        while answers.count(b"\n") < 3001:
            answers += client.read()
        assert answers.endswith(b"\n3001 abc\n")


class Asked(StreamRequestHandler):
    """Answers with what its request says of itself."""

    def handle(self) -> None:
        if not self.rfile.readline():
            # A client who leaves without close_notify ends the session, of which OpenSSL then tells
            # nothing any more: getpeercert() raises "handshake not done yet", here as in `ssl`.
            return
        request = self.request
        assert isinstance(request, ssl.SSLSocket)
        assert isinstance(request, socket.socket)
        facts = [
            request.version(),
            request.cipher()[0],
            request.server_side,
            request.context is self.server.ssl_context,
            request.selected_alpn_protocol(),
            request.session_reused,
            request.getpeercert().get("subjectAltName") if request.getpeercert() else None,
            request.pending(),
            request.compression(),
            bool(request.shared_ciphers()),
            request.gettimeout(),
        ]
        self.wfile.write(repr(facts).encode() + b"\n")


def what_is_known(mixin: str) -> None:
    context = server_context(clients_from=authority())
    context.verify_mode = ssl.CERT_OPTIONAL
    context.set_alpn_protocols(["greensock/1", "http/1.1"])
    with running(make_server(mixin, Asked, ssl_context=context)) as address:
        ours = client_context()
        ours.set_alpn_protocols(["http/1.1", "greensock/1"])
        with TlsClient(address, ours) as client:
            version, cipher, *facts = eval(client.ask(b"?\n"))
            assert (version, cipher) == (client.tls.version(), client.tls.cipher()[0])
            assert facts == [True, True, "greensock/1", False, None, 0, None, True, None]
        authority().issue_cert("somebody.test").configure_cert(ours)
        with TlsClient(address, ours) as client:
            facts = eval(client.ask(b"?\n"))
            assert facts[6] == (("DNS", "somebody.test"),)


@pytest.mark.parametrize("mixin", MIXINS)
@pytest.mark.parametrize("mode", [HERE, PATCHED])
def test_request_knows_its_session(alone: Templates, mode: str, mixin: str) -> None:
    alone(mode, what_is_known, mixin)


@pytest.mark.parametrize("mixin", MIXINS)
def test_client_without_a_certificate_is_told_so(serving: Any, mixin: str) -> None:
    server = make_server(mixin, Echo, ssl_context=server_context(clients_from=authority()))
    address = serving(server)
    # In TLS 1.3 the client is done before the server has seen its certificate, or none.
    with TlsClient(address) as client, pytest.raises(ssl.SSLError, match="CERTIFICATE_REQUIRED"):
        client.ask(b"x\n")
    eventually(lambda: server.stats().handshakes_failed == 1)
    ours = client_context()
    trustme.CA(key_type=trustme.KeyType.ECDSA).issue_cert(NAME).configure_cert(ours)
    with TlsClient(address, ours) as client, pytest.raises(ssl.SSLError, match="UNKNOWN_CA"):
        client.ask(b"x\n")
    eventually(lambda: server.stats().handshakes_failed == 2)
    assert server.stats().errors == 0


def test_client_refuses_expired_and_unknown_certificates(serving: Any, capfd: Any) -> None:
    past = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority().issue_cert(NAME, not_after=past).configure_cert(context)
    server = make_server(GREENLET, Echo, ssl_context=context)
    address = serving(server)
    with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
        TlsClient(address)
    strangers = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trustme.CA(key_type=trustme.KeyType.ECDSA).configure_trust(strangers)
    with pytest.raises(ssl.SSLCertVerificationError, match="unable to get"):
        TlsClient(address, strangers)
    eventually(lambda: server.stats().handshakes_failed == 2)
    assert capfd.readouterr().err == ""


def names_are_chosen(mixin: str) -> None:
    default, other = server_context(), server_context("other.test")
    seen = []

    def choose(request: Any, name: str | None, context: Any) -> None:
        assert isinstance(request, ssl.SSLSocket)
        assert context is default
        seen.append(name)
        if name == "other.test":
            request.context = other

    default.sni_callback = choose
    with running(make_server(mixin, Echo, ssl_context=default)) as address:
        for name in ("other.test", NAME, "other.test"):
            with TlsClient(address, name=name) as client:
                assert client.ask(b"x\n") == b"x\n"
    if mixin != FORKING:
        assert seen == ["other.test", NAME, "other.test"]


@pytest.mark.parametrize("mixin", MIXINS)
@pytest.mark.parametrize("mode", [HERE, PATCHED])
def test_callback_chooses_the_certificate(alone: Templates, mode: str, mixin: str) -> None:
    alone(mode, names_are_chosen, mixin)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("mixin", MIXINS)
def test_sessions_are_resumed(serving: Any, mixin: str, version: Any) -> None:
    server = make_server(mixin, Asked, ssl_context=server_context())
    address, ours = serving(server), client_context()
    ours.minimum_version = ours.maximum_version = version
    with TlsClient(address, ours) as client:
        client.ask(b"?\n")
        session = client.tls.session
    with TlsClient(address, ours, session=session) as client:
        assert client.tls.session_reused or client.ask(b"?\n")
        assert client.tls.session_reused


class Impatient(BaseRequestHandler):
    """Never waits, and says what it would have had to wait for."""

    def handle(self) -> None:
        request = self.request
        request.setblocking(False)
        wanted = []
        for call in (request.recv, lambda size: request.sendall(bytes(size))):
            try:
                for _ in range(100):
                    call(1_000_000)
            except OSError as error:
                wanted.append(type(error).__name__)
        self.server.wanted = wanted


@pytest.mark.parametrize("mixin", [GREENLET, THREADING])
def test_request_that_must_not_wait_says_what_for(serving: Any, mixin: str) -> None:
    server = make_server(mixin, Impatient, ssl_context=server_context(), wanted=None)
    with TlsClient(serving(server)) as client:
        client.tls.sendall(b"x")
        eventually(lambda: server.wanted)
    assert server.wanted == ["SSLWantReadError", "SSLWantWriteError"]
