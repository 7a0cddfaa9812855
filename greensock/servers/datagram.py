"""The servers of datagrams."""

from __future__ import annotations

import operator
import os
import socket
from _socket import MSG_DONTWAIT
from collections.abc import Callable
from typing import Any

from greensock.net import listening
from greensock.net.listening import AcceptError
from greensock.servers.stream import StreamAcceptor, TCPServer
from greensock.serving.acceptor import Acceptor, acceptor_of
from greensock.serving.runner import Beginner
from greensock.serving.service import Service
from greensock.sockets.cooperative import CooperativeSocket
from greensock.sockets.requests import c_socket

recvfrom: Callable[..., tuple[bytes, Any]] = c_socket.recvfrom

# Datagrams per wake-up: 1.8 us each at 8 to 32, 3.3 us each at 1.
_DATAGRAM_BATCH = 32

# The hooks between a datagram and its handler, but for `process_request`.
_HOOKS = (
    "get_request",
    "verify_request",
    "finish_request",
    "shutdown_request",
    "close_request",
)
_hooks = operator.attrgetter(*_HOOKS)


class UDPServer(TCPServer):
    """A server of datagrams: a request is the pair of a datagram's bytes and the server's socket.

    Class variables: `max_packet_size`, the bytes of a datagram that are read; what is longer is cut
    off by the kernel.
    """

    allow_reuse_address = False
    allow_reuse_port = False
    socket_type: int = socket.SOCK_DGRAM
    max_packet_size = 8192

    def get_request(self) -> tuple[Any, Any]:
        """Receive a datagram; may be overridden.

        Raises:
            OSError: as the socket's recvfrom().
        """
        sock, acceptor = self.socket, self._greensock.acceptor
        if self._greensock.run is None:
            acceptor.await_request()
            data, client_address = sock.recvfrom(self.max_packet_size)
        else:
            # Several a wake-up: the one after the last must not block, whatever the socket says.
            raw = sock if type(sock) is listening.ListeningSocket else listening.native(sock)
            data, client_address = recvfrom(raw, self.max_packet_size, MSG_DONTWAIT)
        return (data, acceptor.reply_socket()), client_address

    def server_activate(self) -> None:
        """Nothing to do: datagrams need no listening."""

    def shutdown_request(self, request: Any) -> None:
        """Nothing to shut down: the socket is the server's."""
        self.close_request(request)

    def close_request(self, request: Any) -> None:
        """Nothing to close: the socket is the server's."""

    def server_close(self) -> None:
        """Close the socket; may be extended."""
        super().server_close()
        self._greensock.acceptor.close()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Handle one datagram; may be overridden."""
        self.finish_request(request, client_address)
        self.shutdown_request(request)


_STANDARD = _hooks(UDPServer)
_OWN = frozenset((*_HOOKS, "process_request"))


class DatagramAcceptor(StreamAcceptor):
    """Receives the datagrams of a `UDPServer`."""

    def __init__(self, service: Service) -> None:
        super().__init__(service)
        self._cooperative: tuple[Any, CooperativeSocket] | None = None

    def batch(self) -> int:
        """Many: the next may be there already."""
        return _DATAGRAM_BATCH if type(self.server).get_request is UDPServer.get_request else 1

    def accept_some(self) -> AcceptError | None:
        """As `accept_one`; where the program has no hook of its own, for a batch in one go.

        An answer costs a third more than its two system calls then; the eleven calls of hooks that
        do nothing would cost as much again.
        """
        service, server = self.service, self.server
        begin = self._quick_beginner()
        run = service.run
        if begin is None or run is None:
            return self.accept_one()
        raw = listening.native(server.socket)
        reply_socket, size = self.reply_socket(), server.max_packet_size
        counters, attributes = service.counters, vars(server)
        known = len(attributes)
        for _ in range(_DATAGRAM_BATCH):
            try:
                data, client_address = recvfrom(raw, size, MSG_DONTWAIT)
            except OSError as error:
                return listening.classify(error)
            counters.accepted += 1
            request = (data, reply_socket)
            try:
                begin(request, client_address, server)
            except BaseException as error:  # noqa: BLE001 - raised again if it is no error
                service.endings.tell(request, client_address, error)
            # More attributes: the handler may have set a hook, which has its say from now on.
            if run.stopping or len(attributes) != known:
                break
        return None

    def _quick_beginner(self) -> Beginner | None:
        """What begins the handler of each datagram; None where the hooks have their say.

        Asked at each wake-up: a program may set a hook while the server serves.
        """
        server = self.server
        if _hooks(type(server)) != _STANDARD or not vars(server).keys().isdisjoint(_OWN):
            return None
        return self.service.runner.quick_beginner(UDPServer.process_request)

    def reply_socket(self) -> Any:
        """What handlers answer through: the socket itself, or one whose sends are cooperative.

        That one has a descriptor of its own, on the same socket: the mode of the socket, which a
        child or a thread shares, stays as it is.
        """
        sock, cooperative = self.server.socket, self._cooperative
        if cooperative is not None and cooperative[0] is sock:
            return cooperative[1]
        if not self.service.runner.runs_on_hub():
            return sock
        self.close()
        copy = CooperativeSocket(fileno=os.dup(sock.fileno()))
        self._cooperative = (sock, copy)
        return copy

    def close(self) -> None:
        """Close what answers go through."""
        cooperative, self._cooperative = self._cooperative, None
        if cooperative is not None:
            cooperative[1].close()

    def leave_hub(self) -> None:
        """What is cooperative is so in one hub."""
        self.close()


@acceptor_of.register
def _(server: UDPServer, service: Service) -> Acceptor:
    return DatagramAcceptor(service)


if hasattr(socket, "AF_UNIX"):

    class UnixDatagramServer(UDPServer):
        """UDPServer on a Unix socket: `server_address` is a path."""

        address_family: int = socket.AF_UNIX
