"""What tests are run for: every mixin and mode, the servers of each, handlers that tests share."""

from typing import Any

import pytest

import greensock
from greensock import KeepAliveRequestHandler, StreamRequestHandler

from .separate_process import HERE, LIBUV, NATIVE_THREADS, PATCHED, PATCHED_LIBUV, UNPATCHED

NONE, GREENLET, THREADING, FORKING = MIXINS = ("none", "greenlet", "threading", "forking")
CONCURRENT = (GREENLET, THREADING, FORKING)

TCP, UDP, UNIX_STREAM, UNIX_DATAGRAM = "TCP", "UDP", "UnixStream", "UnixDatagram"

ANY_PORT = ("127.0.0.1", 0)

under_every_mixin = pytest.mark.parametrize("mixin", MIXINS)
concurrent = pytest.mark.parametrize("mixin", CONCURRENT)
#: Where the handler object is the one that the program sees.
without_children = pytest.mark.parametrize("mixin", [NONE, GREENLET, THREADING])
#: By their names in `HANDLERS`.
handlers = pytest.mark.parametrize("handler", ["Echo", "ClassicEcho"])

# Modes are of `separate_process`; with one of these a test takes the fixture `alone`.
patched_or_not = pytest.mark.parametrize("mode", [HERE, PATCHED])
in_each_process = pytest.mark.parametrize("mode", [HERE, PATCHED, LIBUV])
everywhere = pytest.mark.parametrize("mode", [HERE, PATCHED, NATIVE_THREADS, LIBUV, PATCHED_LIBUV])
#: For what needs the main thread, or leaves something behind.
in_every_mode = pytest.mark.parametrize("mode", [UNPATCHED, PATCHED, LIBUV, PATCHED_LIBUV])


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
