"""Every mixin, the server class of each for every transport, and handlers that tests share."""

from typing import Any

import greensock
from greensock import KeepAliveRequestHandler, StreamRequestHandler

NONE, GREENLET, THREADING, FORKING = MIXINS = ("none", "greenlet", "threading", "forking")
CONCURRENT = (GREENLET, THREADING, FORKING)

TCP, UDP, UNIX_STREAM, UNIX_DATAGRAM = "TCP", "UDP", "UnixStream", "UnixDatagram"

ANY_PORT = ("127.0.0.1", 0)


def server_class(mixin: str, transport: str = TCP) -> Any:
    prefix = "" if mixin == NONE else mixin.capitalize()
    return getattr(greensock, f"{prefix}{transport}Server")


def make_server(mixin: str, handler: Any, **attributes: Any) -> Any:
    """A bound TCP server with `mixin`, whose class has `attributes`."""
    base = server_class(mixin)
    return type(base.__name__, (base,), attributes)(ANY_PORT, handler)


class Echo(KeepAliveRequestHandler):
    """Request-wise: its clients are parked."""

    def handle_one_request(self) -> None:
        self.wfile.write(self.rfile.readline())


class ClassicEcho(StreamRequestHandler):
    """With a handle() of its own: its clients keep what they run in."""

    def handle(self) -> None:
        for line in self.rfile:
            self.wfile.write(line)


class DeferredEcho(ClassicEcho):
    """Not started before its client's first byte."""

    defer_until_data = True


class Holding(Echo):
    """Tells that it has begun, and is busy until its client sends more."""

    def handle_one_request(self) -> None:
        self.rfile.readline()
        self.wfile.write(b"begun\n")
        self.wfile.write(self.rfile.readline())


#: By name, as scenarios in other processes are told.
HANDLERS = {each.__name__: each for each in (Echo, ClassicEcho)}
