"""Addresses in words: `host:port`, `[::1]:port`, `tcp://...`, `udp://...`, `unix:PATH`."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens: `scheme` is tcp, udp or unix; `host` is the path for unix."""

    scheme: str
    host: str
    port: int = 0

    @property
    def family(self) -> int:
        if self.scheme == "unix":
            return socket.AF_UNIX
        return socket.AF_INET6 if ":" in self.host else socket.AF_INET

    @property
    def sockaddr(self) -> Any:
        """What `bind` takes."""
        return self.host if self.scheme == "unix" else (self.host, self.port)

    def __str__(self) -> str:
        if self.scheme == "unix":
            return f"unix:{self.host}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


def parse(text: str) -> Address:
    """The address that `text` names; without a scheme it is a TCP one.

    Raises:
        ValueError: it names none; the message says what is wrong, without a full stop.
    """
    if text.startswith("unix:"):
        path = text.removeprefix("unix:").removeprefix("//")
        if not path:
            raise ValueError(f"address must be unix:PATH, not {text!r}")
        return Address("unix", path)
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, rest = "tcp", text
    if scheme not in ("tcp", "udp"):
        raise ValueError(f"address must begin with tcp://, udp:// or unix:, not {text!r}")
    host, colon, port = rest.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"an IPv6 address must stand in brackets, [::1]:9999, not {text!r}")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"address must be host:port with a port from 0 to 65535, not {text!r}")
    return Address(scheme, host, int(port))


def describe(sock: Any, scheme: str) -> Address:
    """The address that a bound socket has."""
    name = sock.getsockname()
    if sock.family == socket.AF_UNIX:
        return Address("unix", str(name))
    return Address(scheme, name[0], name[1])
