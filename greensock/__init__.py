"""socketserver at the scale of idle clients.

The names of CPython's `socketserver`, and beside them:

- `GreenletMixIn`, and the four servers with it: each turn of a client in a greenlet;
- `KeepAliveRequestHandler`: a handler whose idle clients are parked, under any mixin;
- `patch_socketserver`, `unpatch_socketserver`: programs that import `socketserver`, unchanged.

`greensock.examples` has handlers to try, `greensock.testing` what tests need, `greensock.loadtest`
users for locust (which alone imports locust).
"""

from greensock.files.line_limits import LineTooLong
from greensock.handlers.classes import (
    BaseRequestHandler,
    DatagramRequestHandler,
    KeepAliveRequestHandler,
    StreamRequestHandler,
)
from greensock.mixins.combinations import (
    ForkingTCPServer,
    ForkingUDPServer,
    ForkingUnixDatagramServer,
    ForkingUnixStreamServer,
    GreenletTCPServer,
    GreenletUDPServer,
    GreenletUnixDatagramServer,
    GreenletUnixStreamServer,
    ThreadingTCPServer,
    ThreadingUDPServer,
    ThreadingUnixDatagramServer,
    ThreadingUnixStreamServer,
)
from greensock.mixins.forks import ForkingMixIn
from greensock.mixins.greenlets import GreenletMixIn
from greensock.mixins.threads import ThreadingMixIn
from greensock.patch import patch_socketserver, unpatch_socketserver
from greensock.servers.base import BaseServer
from greensock.servers.datagram import UDPServer, UnixDatagramServer
from greensock.servers.stream import TCPServer, UnixStreamServer
from greensock.serving.draining import Cut, Drained
from greensock.stats import Stats

__version__ = "0.1.0"

__all__ = [
    "BaseRequestHandler",
    "BaseServer",
    "Cut",
    "DatagramRequestHandler",
    "Drained",
    "ForkingMixIn",
    "ForkingTCPServer",
    "ForkingUDPServer",
    "ForkingUnixDatagramServer",
    "ForkingUnixStreamServer",
    "GreenletMixIn",
    "GreenletTCPServer",
    "GreenletUDPServer",
    "GreenletUnixDatagramServer",
    "GreenletUnixStreamServer",
    "KeepAliveRequestHandler",
    "LineTooLong",
    "Stats",
    "StreamRequestHandler",
    "TCPServer",
    "ThreadingMixIn",
    "ThreadingTCPServer",
    "ThreadingUDPServer",
    "ThreadingUnixDatagramServer",
    "ThreadingUnixStreamServer",
    "UDPServer",
    "UnixDatagramServer",
    "UnixStreamServer",
    "patch_socketserver",
    "unpatch_socketserver",
]
