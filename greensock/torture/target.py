"""The server under torture: where it is, and how clients of it are made."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import ssl
import struct
from typing import Any

from greensock.net import addresses
from greensock.net.addresses import Address

#: Linux's IP_BIND_ADDRESS_NO_PORT, which the socket module does not name. The port is then chosen
#: at connect, for this server: chosen at bind, one address would run out of ports for all servers.
_IP_BIND_ADDRESS_NO_PORT = 24

#: Seconds after which a datagram is taken for lost. Arbitrary: a hundred times an exchange here.
_DATAGRAM_PATIENCE = 0.25

#: Several hosts, as far as a server can tell. .1 is left to the probe.
SOURCES = tuple(f"127.0.0.{number}" for number in range(2, 10))


class Target:
    """A server's address, and TLS where it speaks it.

    Args:
        text: as `greensock serve --bind` takes it, or `tls://host:port`.

    Raises:
        ValueError: it names no address, or its host is not known.
    """

    def __init__(self, text: str) -> None:
        self.is_tls = text.startswith("tls://")
        self.text = text
        self.address = addresses.parse(text.replace("tls://", "tcp://", 1) if self.is_tls else text)
        self.kind = socket.SOCK_DGRAM if self.address.scheme == "udp" else socket.SOCK_STREAM
        self.family, self.sockaddr = _resolve(self.address, self.kind)
        self._context: ssl.SSLContext | None = None
        if self.is_tls:
            # Whose certificate it is does not matter here, and test servers' are self-signed.
            self._context = ssl.create_default_context()
            self._context.check_hostname = False
            self._context.verify_mode = ssl.CERT_NONE

    @property
    def is_stream(self) -> bool:
        return self.kind == socket.SOCK_STREAM

    def patience_of_one(self, patience: float) -> float:
        """How much of `patience` one question is given: a datagram may be lost, and asked again."""
        return patience if self.is_stream else min(patience, _DATAGRAM_PATIENCE)

    @property
    def is_unix(self) -> bool:
        return self.family == socket.AF_UNIX

    @property
    def is_local(self) -> bool:
        """Whether it is on this machine, so that nobody else's is troubled."""
        return self.is_unix or ipaddress.ip_address(self.sockaddr[0].partition("%")[0]).is_loopback

    @property
    def sources(self) -> tuple[str | None, ...]:
        """The addresses that clients may come from; None leaves it to the system."""
        if self.family == socket.AF_INET and self.is_local:
            return SOURCES
        return (None,)

    def new_socket(self, source: str | None = None) -> socket.socket:
        """A socket for a client, not connected yet, bound to `source`."""
        sock = socket.socket(self.family, self.kind)
        if source is not None:
            # From another of this machine's addresses where that is possible, else from its own.
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
                sock.bind((source, 0))
        return sock

    def connect_raw(self, patience: float, source: str | None = None, **options: int) -> Any:
        """A connected socket, without TLS.

        Args:
            patience: seconds; also the timeout of what it does later.
            options: socket options by name, set before it connects.

        Raises:
            OSError: it did not connect; TimeoutError, not in time.
        """
        sock = self.new_socket(source)
        try:
            for name, value in options.items():
                sock.setsockopt(socket.SOL_SOCKET, getattr(socket, name), value)
            sock.settimeout(patience)
            sock.connect(self.sockaddr)
        except BaseException:
            sock.close()
            raise
        return sock

    def connect(self, patience: float, source: str | None = None, **options: int) -> Any:
        """A connected socket, after the handshake where the server speaks TLS.

        Raises:
            OSError: as `connect_raw`, and what the handshake raises.
        """
        sock = self.connect_raw(patience, source, **options)
        if self._context is None:
            return sock
        try:
            return self._context.wrap_socket(sock, server_hostname=self.address.host)
        except BaseException:
            sock.close()
            raise

    def __str__(self) -> str:
        return self.text if self.is_tls else str(self.address)


def reset(sock: socket.socket) -> None:
    """Close a connection so that the other end sees an error, not an end."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def _resolve(address: Address, kind: int) -> tuple[int, Any]:
    if address.scheme == "unix":
        return socket.AF_UNIX, address.host
    try:
        found = socket.getaddrinfo(address.host, address.port, type=kind)
    except OSError as error:
        raise ValueError(f"{address.host} is not known: {error.strerror}") from error
    family, _, _, _, sockaddr = found[0]
    return family, sockaddr
