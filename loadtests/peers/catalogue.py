"""Who is compared: every contender, what it needs, and what it can be asked to do."""

import fnmatch
import importlib.util
from dataclasses import dataclass
from typing import Literal

# Where an idle client holds a thread or a child, 10,000 of them are out of reach of most machines.
FEW_IDLE = 1_000
NO_BOUND = 1_000_000


@dataclass(frozen=True, slots=True)
class Contender:
    """A server to compare.

    Attributes:
        name: What the tables and ``--contenders`` call it.
        module: Its module under `contenders`.
        variant: The argument that module takes.
        does: What it does for one exchange, and Nagle's algorithm.
        imports: The statement whose time is the library's import time; empty for "not a library".
        requires: The modules that must be installed.
        max_idle: How many idle clients it is asked to hold at most.
        kind: What the load speaks to it.
    """

    name: str
    module: str
    variant: str
    does: str
    imports: str = ""
    requires: tuple[str, ...] = ()
    max_idle: int = NO_BOUND
    kind: Literal["tcp", "udp", "http"] = "tcp"

    def missing(self) -> str:
        """The first required module that is not installed, or an empty string."""
        return next((name for name in self.requires if not importlib.util.find_spec(name)), "")


def _greensock(
    name: str, does: str, kind: Literal["tcp", "udp", "http"] = "tcp", max_idle: int = NO_BOUND
) -> Contender:
    return Contender(
        name=f"greensock-{name}",
        module="greensock_servers",
        variant=name,
        does=f"{does}; Nagle off",
        imports="import greensock",
        requires=("greensock",),
        max_idle=max_idle,
        kind=kind,
    )


_REQUEST_WISE = "KeepAliveRequestHandler: wfile.write(rfile.readline())"
_CLASSIC = "StreamRequestHandler: for line in rfile: wfile.write(line)"
_DATAGRAM = "BaseRequestHandler: sendto(data)"
_PAGE = "http.server handler, HTTP/1.1, 14-byte page"

CONTENDERS = (
    _greensock("greenlet", _REQUEST_WISE),
    _greensock("threading", _REQUEST_WISE),
    _greensock("forking", _REQUEST_WISE),
    _greensock("none", _REQUEST_WISE),
    _greensock("greenlet-classic", _CLASSIC),
    _greensock("threading-classic", _CLASSIC, max_idle=FEW_IDLE),
    _greensock("forking-classic", _CLASSIC, max_idle=FEW_IDLE),
    Contender(
        "socketserver-threads",
        "stdlib",
        "threads",
        f"{_CLASSIC}; Nagle on; daemon threads",
        "import socketserver",
        max_idle=FEW_IDLE,
    ),
    Contender(
        "socketserver-forks",
        "stdlib",
        "forks",
        f"{_CLASSIC}; Nagle on; max_children raised",
        max_idle=FEW_IDLE,
    ),
    Contender(
        "patched-threads", "patched", "threads", f"{_CLASSIC}; Nagle on", requires=("gevent",)
    ),
    Contender(
        "patched-forks",
        "patched",
        "forks",
        f"{_CLASSIC}; Nagle on",
        requires=("gevent",),
        max_idle=FEW_IDLE,
    ),
    Contender(
        "gevent-lines",
        "gevent_servers",
        "lines",
        "StreamServer: for line in makefile('rb'): sendall(line); Nagle on",
        "import gevent.server",
        requires=("gevent",),
    ),
    Contender(
        "gevent-chunks",
        "gevent_servers",
        "chunks",
        "StreamServer: sendall(recv()), no line reader; Nagle on",
        requires=("gevent",),
    ),
    Contender(
        "asyncio-streams",
        "asyncio_servers",
        "streams",
        "start_server: readline, write, drain; Nagle off",
        "import asyncio",
    ),
    Contender(
        "asyncio-protocol",
        "asyncio_servers",
        "protocol",
        "Protocol: transport.write(data), no line reader; Nagle off",
    ),
    Contender(
        "uvloop-streams",
        "asyncio_servers",
        "uvloop-streams",
        "start_server: readline, write, drain; Nagle off",
        "import uvloop",
        requires=("uvloop",),
    ),
    Contender(
        "uvloop-protocol",
        "asyncio_servers",
        "uvloop-protocol",
        "Protocol: transport.write(data), no line reader; Nagle off",
        requires=("uvloop",),
    ),
    Contender(
        "trio",
        "trio_servers",
        "stream",
        "serve_tcp: async for data in stream: send_all(data), no line reader; Nagle off",
        "import trio",
        requires=("trio",),
    ),
    Contender("epoll", "epoll", "stream", "bare epoll loop: send(recv()); Nagle on; the limit"),
    _greensock("udp-greenlet", _DATAGRAM, "udp"),
    _greensock("udp-none", _DATAGRAM, "udp"),
    _greensock("udp-threading", _DATAGRAM, "udp"),
    _greensock("udp-forking", _DATAGRAM, "udp"),
    Contender("socketserver-udp", "stdlib", "udp", _DATAGRAM, kind="udp"),
    Contender("socketserver-udp-threads", "stdlib", "udp-threads", _DATAGRAM, kind="udp"),
    Contender("socketserver-udp-forks", "stdlib", "udp-forks", _DATAGRAM, kind="udp"),
    Contender("patched-udp", "patched", "udp", _DATAGRAM, requires=("gevent",), kind="udp"),
    Contender(
        "patched-udp-threads",
        "patched",
        "udp-threads",
        _DATAGRAM,
        requires=("gevent",),
        kind="udp",
    ),
    Contender(
        "gevent-udp",
        "gevent_servers",
        "udp",
        "DatagramServer: socket.sendto(data)",
        requires=("gevent",),
        kind="udp",
    ),
    Contender(
        "asyncio-udp",
        "asyncio_servers",
        "udp",
        "DatagramProtocol: transport.sendto(data)",
        kind="udp",
    ),
    Contender(
        "uvloop-udp",
        "asyncio_servers",
        "uvloop-udp",
        "DatagramProtocol: transport.sendto(data)",
        requires=("uvloop",),
        kind="udp",
    ),
    Contender(
        "trio-udp",
        "trio_servers",
        "udp",
        "trio.socket: recvfrom, sendto",
        requires=("trio",),
        kind="udp",
    ),
    Contender("epoll-udp", "epoll", "udp", "bare epoll loop: recvfrom, sendto", kind="udp"),
    _greensock("http-greenlet", _PAGE, "http"),
    _greensock("http-threading", _PAGE, "http"),
    Contender("socketserver-http", "stdlib", "http", f"{_PAGE}; Nagle on", kind="http"),
    Contender(
        "socketserver-http-no-nagle", "stdlib", "http-no-nagle", f"{_PAGE}; Nagle off", kind="http"
    ),
    Contender(
        "patched-http",
        "patched",
        "http",
        f"{_PAGE}; Nagle on",
        requires=("gevent",),
        kind="http",
    ),
    Contender(
        "patched-http-no-nagle",
        "patched",
        "http-no-nagle",
        f"{_PAGE}; Nagle off",
        requires=("gevent",),
        kind="http",
    ),
)

BY_NAME = {contender.name: contender for contender in CONTENDERS}


def select(patterns: list[str] | None) -> list[Contender]:
    """The contenders whose name matches one of the shell patterns; all of them for None.

    Raises:
        ValueError: when a pattern matches none.
    """
    if patterns is None:
        return list(CONTENDERS)
    for pattern in patterns:
        if not fnmatch.filter(BY_NAME, pattern):
            raise ValueError(f"a contender must be one of {', '.join(BY_NAME)}, not {pattern!r}")
    return [c for c in CONTENDERS if any(fnmatch.fnmatch(c.name, p) for p in patterns)]
