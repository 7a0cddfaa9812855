"""Every server with every mixin."""

from __future__ import annotations

import os
import socket

from greensock.mixins.forks import ForkingMixIn
from greensock.mixins.greenlets import GreenletMixIn
from greensock.mixins.threads import ThreadingMixIn
from greensock.servers.datagram import UDPServer
from greensock.servers.stream import TCPServer


class GreenletUDPServer(GreenletMixIn, UDPServer):
    """UDPServer that handles each datagram in a greenlet."""


class GreenletTCPServer(GreenletMixIn, TCPServer):
    """TCPServer that handles each turn in a greenlet."""


class ThreadingUDPServer(ThreadingMixIn, UDPServer):
    """UDPServer that handles each datagram in a thread."""


class ThreadingTCPServer(ThreadingMixIn, TCPServer):
    """TCPServer that handles each turn in a thread."""


if hasattr(os, "fork"):

    class ForkingUDPServer(ForkingMixIn, UDPServer):
        """UDPServer that handles each datagram in a child."""

    class ForkingTCPServer(ForkingMixIn, TCPServer):
        """TCPServer that handles each turn in a child."""


if hasattr(socket, "AF_UNIX"):
    from greensock.servers.datagram import UnixDatagramServer
    from greensock.servers.stream import UnixStreamServer

    class GreenletUnixStreamServer(GreenletMixIn, UnixStreamServer):
        """UnixStreamServer that handles each turn in a greenlet."""

    class GreenletUnixDatagramServer(GreenletMixIn, UnixDatagramServer):
        """UnixDatagramServer that handles each datagram in a greenlet."""

    class ThreadingUnixStreamServer(ThreadingMixIn, UnixStreamServer):
        """UnixStreamServer that handles each turn in a thread."""

    class ThreadingUnixDatagramServer(ThreadingMixIn, UnixDatagramServer):
        """UnixDatagramServer that handles each datagram in a thread."""

    if hasattr(os, "fork"):

        class ForkingUnixStreamServer(ForkingMixIn, UnixStreamServer):
            """UnixStreamServer that handles each turn in a child."""

        class ForkingUnixDatagramServer(ForkingMixIn, UnixDatagramServer):
            """UnixDatagramServer that handles each datagram in a child."""
