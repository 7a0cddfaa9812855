"""What a locust host may be for a socket user. Pure: no socket is opened and no name resolved."""

from __future__ import annotations

from dataclasses import dataclass

_FORMS = "tcp://HOST:PORT, tls://HOST:PORT, udp://HOST:PORT, http://HOST[:PORT] or unix:PATH"


@dataclass(frozen=True)
class Address:
    """Where a socket user's server listens.

    scheme is "tcp", "tls", "udp" or "unix". A Unix socket has a path and no host and port; a path
    that begins with "@" means Linux's abstract namespace.
    """

    scheme: str
    host: str = ""
    port: int = 0
    path: str = ""

    @property
    def request_type(self) -> str:
        """The type that locust's tables show for requests to this address."""
        return self.scheme.upper()

    def __str__(self) -> str:
        if self.scheme == "unix":
            return f"unix:{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


def parse_address(text: str) -> Address:
    """Read a host as locust gets it.

    http://HOST[:PORT] is read as tcp://HOST:PORT (80 without a port), so that one --host serves
    locust's HTTP users and socket users in one locustfile.

    Raises:
        ValueError: text has none of the forms above, or its port is not between 1 and 65535.
    """
    scheme, separator, rest = text.partition(":")
    scheme = scheme.lower()
    if scheme == "unix" and separator:
        path = rest.removeprefix("//")
        if not path:
            raise ValueError(f"host must be {_FORMS}, not {text!r}")
        return Address("unix", path=path)
    if scheme not in ("tcp", "tls", "udp", "http") or not rest.startswith("//"):
        raise ValueError(f"host must be {_FORMS}, not {text!r}")
    place = rest[2:].rstrip("/")
    if scheme == "http":
        scheme = "tcp"
        if not place.rpartition("]")[2].count(":"):
            place += ":80"
    host, colon, port = place.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    host = host[1:-1] if bracketed else host
    if not colon or not host or (":" in host) != bracketed or set(host) & set("[]/@"):
        raise ValueError(f"host must be {_FORMS}, not {text!r}")
    if not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(f"the port of host must be between 1 and 65535, not {port!r}")
    return Address(scheme, host, int(port))
