"""An authority of the tests' own, contexts with its certificates, and clients that trust it."""

import contextlib
import functools
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import trustme
from gevent import monkey

from ..clients import Client, connect
from ..separate_process import STUCK

NAME = "greensock.test"


@functools.cache
def authority() -> trustme.CA:
    # EC keys: an RSA key takes half a second to make.
    return trustme.CA(key_type=trustme.KeyType.ECDSA)


def server_context(name: str = NAME, *, clients_from: trustme.CA | None = None) -> Any:
    """A context for a server that is called `name`."""
    return configured(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), name, clients_from)


def early_context() -> Any:
    """A context as made before the process was patched, if it was."""
    context = monkey.get_original("ssl", "SSLContext")(ssl.PROTOCOL_TLS_SERVER)
    with authority().issue_cert(NAME).private_key_and_cert_chain_pem.tempfile() as path:
        context.load_cert_chain(path)
    return context


def configured(context: Any, name: str, clients_from: trustme.CA | None) -> Any:
    authority().issue_cert(name).configure_cert(context)
    if clients_from is not None:
        clients_from.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context() -> Any:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority().configure_trust(context)
    return context


def write_pem(certificate: trustme.LeafCert, folder: Path, name: str = "server") -> Path:
    """One file with the certificate, its chain and its key."""
    path = folder / f"{name}.pem"
    certificate.private_key_and_cert_chain_pem.write_to_path(path)
    return path


class TlsClient:
    """A client's TLS connection: its `tls` socket, and the plain one that it was made from.

    Closing it says so to the server even where a child of a test's own process holds it as well.
    """

    def __init__(self, address: Any, context: Any = None, name: str = NAME, **options: Any) -> None:
        # A descriptor of its own: wrapping takes the one it is given.
        self.plain: Client = connect(address)
        with connected(self.plain):
            self.tls = (context or client_context()).wrap_socket(
                self.plain.dup(), server_hostname=name, **options
            )
        self.tls.settimeout(STUCK)

    def ask(self, question: bytes) -> bytes:
        self.tls.sendall(question)
        return self.line()

    def line(self) -> bytes:
        line = b""
        while not line.endswith(b"\n") and (byte := self.tls.recv(1)):
            line += byte
        return line

    def close(self) -> None:
        """Without close_notify."""
        self.plain.close()
        self.tls.close()

    def __enter__(self) -> "TlsClient":
        return self

    def __exit__(self, *args: object) -> None:
        self.close()


@contextlib.contextmanager
def connected(plain: socket.socket) -> Iterator[None]:
    try:
        yield
    except BaseException:
        plain.close()
        raise


class BioClient:
    """A client whose bytes on the wire are sent as the test pleases: late, in parts, or not."""

    def __init__(self, address: Any, context: Any = None) -> None:
        self.plain = connect(address)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = (context or client_context()).wrap_bio(
            self.incoming, self.outgoing, server_hostname=NAME
        )

    def shake_hands(self) -> "BioClient":
        while not self.try_to_shake_hands():
            self.pull()
        return self

    def try_to_shake_hands(self) -> bool:
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        finally:
            self.flush()
        return True

    def flush(self) -> None:
        if data := self.outgoing.read():
            self.plain.sendall(data)

    def pull(self) -> None:
        data = self.plain.recv(65536)
        assert data, "the server has closed"
        self.incoming.write(data)

    def record(self, data: bytes) -> bytes:
        """The bytes on the wire for `data`."""
        self.tls.write(data)
        return self.outgoing.read()

    def read(self, size: int = 65536) -> bytes:
        while True:
            try:
                return self.tls.read(size)
            except ssl.SSLWantReadError:
                self.pull()

    def close(self) -> None:
        self.plain.close()

    def __enter__(self) -> "BioClient":
        return self

    def __exit__(self, *args: object) -> None:
        self.close()


def over(tls: bool) -> dict[str, Any]:
    """The settings of a server that is to serve over TLS, or not."""
    return {"ssl_context": server_context()} if tls else {}


@contextlib.contextmanager
def connect_over(address: Any, tls: bool) -> Iterator[Any]:
    """A client's socket, of a server with these settings."""
    if tls:
        with TlsClient(address) as client:
            yield client.tls
    else:
        with connect(address) as plain:
            yield plain
