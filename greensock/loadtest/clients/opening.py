"""Opening a client's socket: name resolution, connect, and what TLS trusts."""

from __future__ import annotations

import contextlib
import functools
import socket
import ssl
from typing import Any

from greensock.loadtest.clients.address import Address


@functools.cache
def default_ssl_context() -> ssl.SSLContext:
    # Once per process: reading the certificates takes milliseconds.
    return ssl.create_default_context()


@functools.cache
def resolve(host: str, port: int, kind: int) -> list[tuple[int, Any]]:
    """(family, address) of each place that host means; asked of the resolver once per process."""
    found = socket.getaddrinfo(host, port, type=kind)
    return [(family, sockaddr) for family, _kind, _protocol, _name, sockaddr in found]


def open_socket(address: Address, kind: socket.SocketKind, timeout: float | None) -> socket.socket:
    """A connected socket, from the first place of the address that accepts.

    Raises:
        OSError: none does; the last place's error.
    """
    if address.scheme == "unix":
        path = "\0" + address.path[1:] if address.path.startswith("@") else address.path
        places: list[tuple[int, Any]] = [(socket.AF_UNIX, path)]
    else:
        places = resolve(address.host, address.port, kind)
    *others, last = places
    for place in others:
        with contextlib.suppress(OSError):  # the next place may accept
            return _open_at(place, kind, timeout)
    return _open_at(last, kind, timeout)


def _open_at(place: tuple[int, Any], kind: int, timeout: float | None) -> socket.socket:
    family, sockaddr = place
    sock = socket.socket(family, kind)
    try:
        sock.settimeout(timeout)
        sock.connect(sockaddr)
    except BaseException:
        # Also when locust kills the user while it connects: the socket is nobody else's.
        sock.close()
        raise
    return sock


def open_stream(address: Address, timeout: float | None) -> socket.socket:
    sock = open_socket(address, socket.SOCK_STREAM, timeout)
    if address.scheme != "unix":
        # A request written in two pieces would wait for the server's delayed ACK, 40 ms.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock
