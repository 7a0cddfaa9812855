"""socketserver at the scale of idle clients.

The names of CPython's `socketserver`, and beside them:

- `GreenletMixIn`, and the four servers with it: each turn of a client in a greenlet;
- `KeepAliveRequestHandler`: a handler whose idle clients are parked, under any mixin.

`greensock.examples` has handlers to try, `greensock.testing` what tests need, `greensock.loadtest`
users for locust (which alone imports locust).
"""

from greensock.datagram_servers import UDPServer, UnixDatagramServer
from greensock.handlers import (
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
from greensock.servers import BaseServer, TCPServer, UnixStreamServer
from greensock.stats import Stats

__version__ = "0.1.0"

__all__ = [
    "BaseRequestHandler",
    "BaseServer",
    "DatagramRequestHandler",
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
]
