"""The servers of datagrams."""

from __future__ import annotations

import operator
import os
import socket
from _socket import MSG_DONTWAIT
from collections.abc import Callable
from typing import Any

from greensock import endings
from greensock.handlers import quick_runner
from greensock.net import listening
from greensock.net.cooperative_sockets import CooperativeSocket
from greensock.net.listening import AcceptError
from greensock.net.request_sockets import c_socket
from greensock.stream_servers import TCPServer

_recvfrom: Callable[..., tuple[bytes, Any]] = c_socket.recvfrom

# Datagrams per wake-up: 1.8 us each at 8 to 32, 3.3 us each at 1.
_DATAGRAM_BATCH = 32

#: What is called with a datagram's request, its sender's address and the server, and handles it or
#: has it handled.
Beginner = Callable[[Any, Any, Any], object]

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
    _gs_cooperative: tuple[Any, CooperativeSocket] | None = None

    def get_request(self) -> tuple[Any, Any]:
        """Receive a datagram; may be overridden.

        Raises:
            OSError: as the socket's recvfrom().
        """
        sock = self.socket
        if self._gs_serving is None:
            self._gs_await_request()
            data, client_address = sock.recvfrom(self.max_packet_size)
        else:
            # Several a wake-up: the one after the last must not block, whatever the socket says.
            raw = sock if type(sock) is listening.ListeningSocket else listening.native(sock)
            data, client_address = _recvfrom(raw, self.max_packet_size, MSG_DONTWAIT)
        cooperative = self._gs_cooperative
        if cooperative is None or cooperative[0] is not sock:
            return (data, self._gs_reply_socket()), client_address
        return (data, cooperative[1]), client_address

    def server_activate(self) -> None:
        """Nothing to do: datagrams need no listening."""

    def shutdown_request(self, request: Any) -> None:
        """Nothing to shut down: the socket is the server's."""
        self.close_request(request)

    def close_request(self, request: Any) -> None:
        """Nothing to close: the socket is the server's."""

    def process_request(self, request: Any, client_address: Any) -> None:
        """Handle one datagram; may be overridden."""
        self.finish_request(request, client_address)
        self.shutdown_request(request)

    def _gs_admit(self, request: Any, client_address: Any) -> None:
        """A datagram has no client to park."""

    def _gs_begin_whole(self, request: Any, client_address: Any) -> None:
        """Nor one that is open, to be counted: twice a lock would be 5 % of an answer."""

    def _gs_count_whole_out(self) -> None:
        """See `_gs_begin_whole`."""

    def _gs_end_whole(self, request: Any, client_address: Any) -> None:
        """See `_gs_begin_whole`."""

    def _gs_accept_batch(self) -> int:
        return _DATAGRAM_BATCH if type(self).get_request is UDPServer.get_request else 1

    def _gs_accept_some(self) -> AcceptError | None:
        """As `_gs_accept_one`; where the program has no hook of its own, for a batch in one go.

        An answer costs a third more than its two system calls then; the eleven calls of hooks that
        do nothing would cost as much again.
        """
        begin = self._gs_quick_beginner() if self._gs_hooks_are_standard() else None
        if begin is None:
            return self._gs_accept_one()
        raw = listening.native(self.socket)
        reply_socket, size = self._gs_reply_socket(), self.max_packet_size
        counters, serving, attributes = self._gs_counters, self._gs_serving, self.__dict__
        known = len(attributes)
        for _ in range(_DATAGRAM_BATCH):
            try:
                data, client_address = _recvfrom(raw, size, MSG_DONTWAIT)
            except OSError as error:
                return listening.classify(error)
            counters.accepted += 1
            request = (data, reply_socket)
            try:
                begin(request, client_address, self)
            except BaseException as error:  # noqa: BLE001 - raised again if it is no error
                endings.tell(self, request, client_address, error)
            # More attributes: the handler may have set a hook, which has its say from now on.
            if serving.stopping or len(attributes) != known:  # type: ignore[union-attr]
                break
        return None

    def _gs_hooks_are_standard(self) -> bool:
        """Asked at each wake-up: a program may set a hook while the server serves."""
        return _hooks(type(self)) == _STANDARD and self.__dict__.keys().isdisjoint(_OWN)

    def _gs_quick_beginner(self) -> Beginner | None:
        """What begins the handler of each datagram of a batch; None if only hooks do.

        Asked where the hooks are the standard ones but, maybe, for `process_request`.
        """
        if type(self).process_request is not UDPServer.process_request:
            return None
        return quick_runner(self.RequestHandlerClass)

    def _gs_reply_socket(self) -> Any:
        """What handlers answer through: the socket itself, or one whose sends are cooperative.

        That one has a descriptor of its own, on the same socket: the mode of the socket, which a
        child or a thread shares, stays as it is.
        """
        if not self._gs_runs_on_hub():
            return self.socket
        if self._gs_cooperative is None or self._gs_cooperative[0] is not self.socket:
            self._gs_close_cooperative()
            copy = CooperativeSocket(fileno=os.dup(self.socket.fileno()))
            self._gs_cooperative = (self.socket, copy)
        return self._gs_cooperative[1]

    def _gs_close_cooperative(self) -> None:
        if self._gs_cooperative is not None:
            self._gs_cooperative[1].close()
            self._gs_cooperative = None

    def _gs_leave_hub(self, hub_ends: bool) -> None:
        if hub_ends:
            self._gs_close_cooperative()
        super()._gs_leave_hub(hub_ends)

    def server_close(self) -> None:
        """Close the socket; may be extended."""
        super().server_close()
        self._gs_close_cooperative()


_STANDARD = _hooks(UDPServer)
_OWN = frozenset((*_HOOKS, "process_request"))


if hasattr(socket, "AF_UNIX"):

    class UnixDatagramServer(UDPServer):
        """UDPServer on a Unix socket: `server_address` is a path."""

        address_family: int = socket.AF_UNIX
