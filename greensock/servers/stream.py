"""The servers of streams: TCP and Unix sockets that listen."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Any

from greensock.hub.waiting import wait_readable
from greensock.net import listening, tcp_options, traffic
from greensock.noted import strays
from greensock.servers.base import BaseServer
from greensock.serving.acceptor import Acceptor, acceptor_of
from greensock.serving.service import Service
from greensock.tls import loading

if TYPE_CHECKING:
    import ssl

# Accepts per wake-up. Measured with 900 clients at once and handlers of 50 us: 4 to 16 take 74 to
# 79 ms in all and keep an echo at 0.7-2.6 ms, 64 are no faster and make it 10 ms.
_ACCEPT_BATCH = 8


class TCPServer(BaseServer):
    """A server of TCP clients: `BaseServer` with a listening socket.

    Args:
        server_address: what the socket is bound to, for TCP a pair of host and port (0: a free
            one); afterwards `server_address` is the address in force.
        RequestHandlerClass: makes the handler of each request.
        bind_and_activate: False leaves `server_bind()` and `server_activate()` to the caller.

    Class variables: `address_family`, `socket_type`, `request_queue_size` (the kernel's queue of
    clients not yet accepted), `allow_reuse_address`, `allow_reuse_port` (set the socket's options
    before it is bound), `tcp_nodelay`, `tcp_keepalive` (None: no probes), and the limits below.
    None is no limit, unless it says otherwise; all may be set while the server serves.

    - `max_connections`: how many clients may be open at once, idle ones included. None: as many as
      the limit of open files leaves room for, less a reserve of 64.
    - `overflow`: what becomes of a client for whom there is no room. "pause" (the default): it
      waits in the kernel's queue. "reject": `reject_request()` is called, and it is closed.
      "evict": the client who has been parked longest is closed for it.
    - `max_connections_per_ip`: how many of them may come from one network; further ones are
      rejected. `ip_prefix`: the lengths of the prefixes that make a network, for IPv4 and for IPv6;
      (32, 64). `trusted_ips`: addresses and networks without that limit.
    - `idle_timeout`: seconds without a byte either way after which a client is closed, parked or
      in a read of its handler's; a timeout that the handler sets replaces it there.
    - `write_timeout`: seconds for which a client may leave the kernel's buffers full; then writing
      to it raises TimeoutError. TCP only.

    - `graceful_timeout`: seconds that `server_close()`, where `block_on_close` is True, lets the
      handlers have before it cuts them, see `drain()`. None (the default): as many as they need, as
      in socketserver.

    - `stall_timeout`: seconds that a handler may keep the hub from turning, and so every other
      client waiting, before one WARNING of the logger `greensock.stalls` names it and the line that
      it is at; a native thread looks for that, or one WARNING says that there is none to be had.
      None (the default): nobody looks.

    - `count_bytes`: whether `stats()` tells how many bytes TCP clients have sent and been sent,
      with TLS those on the wire. False (the default): it does not. The kernel counts them and is
      asked by `shutdown_request()`, which costs each client 2 us at its end and no exchange
      anything. A client whose child was killed is left out, and the end of one who hangs up before
      its answer may be a byte received.

    Methods that may be overridden: `reject_request(request, client_address)`,
    `on_connection(state, request, client_address)`, `on_drain(handler)`.

    Raises:
        OSError: the address cannot be bound; the socket is closed then.

    Differs from socketserver: `request_queue_size` is `socket.SOMAXCONN` in place of 5 (as in
    CPython 3.15: 5 drops the connects of a crowd, which come back after a second). Accepted
    sockets have Nagle's algorithm off unless `tcp_nodelay` is False. Under greenlets, and without a
    mixin, they are cooperative: what blocks in them blocks one greenlet.

    TLS: with `ssl_context`, an `ssl.SSLContext` for servers (None, the default: no TLS), every
    client's request is an SSL socket; so it is where the program puts
    `context.wrap_socket(server.socket, server_side=True)` in place of `server.socket`. The
    handshake is made where the request runs, never by accept: clients who say nothing are parked,
    and ended `handshake_timeout` seconds (10.0; None: never) after they connected. One that fails
    costs its client, a DEBUG record of the logger `greensock.tls`, and counts in
    `stats().handshakes_failed`. TLS clients are parked like others, except under ForkingMixIn: a
    session cannot leave the child that it began in, so that each keeps its child to its end. While
    silent they are closed as parked clients are by a drain, `server_close()` and timeouts; where
    others wait because of `max_children`, only with `overflow = "evict"`.

    Differs from socketserver: with a wrapped listener, `get_request`, `verify_request` and
    `process_request` see a request whose handshake is yet to come; asking it for its certificate
    there makes the handshake there.
    """

    address_family: int = socket.AF_INET
    socket_type: int = socket.SOCK_STREAM
    request_queue_size = socket.SOMAXCONN
    allow_reuse_address = False
    allow_reuse_port = False
    #: Whether Nagle's algorithm is off for accepted TCP clients, as in asyncio and Go: handlers
    #: that write head and body apart would otherwise wait 44 ms for a delayed acknowledgement.
    tcp_nodelay = True
    #: Seconds of silence before the kernel's first probe of a client, seconds between probes, and
    #: how many may go unanswered before the client counts as gone. The figures that users of other
    #: servers set by hand; Linux's own are two hours, 75 and 9.
    tcp_keepalive: tuple[int, int, int] | None = (60, 10, 3)
    ssl_context: ssl.SSLContext | None = None
    handshake_timeout: float | None = 10.0

    def __init__(
        self, server_address: Any, RequestHandlerClass: Any, bind_and_activate: bool = True
    ) -> None:
        """Set up the server; may be extended, not overridden."""
        BaseServer.__init__(self, server_address, RequestHandlerClass)
        self.socket = listening.new_server_socket(self.address_family, self.socket_type)
        if bind_and_activate:
            try:
                self.server_bind()
                self.server_activate()
            except BaseException:
                self.server_close()
                raise

    def server_bind(self) -> None:
        """Bind the socket; may be overridden.

        Differs from socketserver: a server may be started again at once, also where
        `allow_reuse_address` is False. What its clients have left of the port (TIME_WAIT) keeps
        nobody from it; a server that listens there does.

        Raises:
            OSError: the address cannot be bound.
        """
        if self.allow_reuse_address and hasattr(socket, "SO_REUSEADDR"):
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Linux from 6.12.9 on refuses it to sockets that have no ports, which had no use for it.
        has_ports = self.address_family in (socket.AF_INET, socket.AF_INET6)
        if self.allow_reuse_port and has_ports and hasattr(socket, "SO_REUSEPORT"):
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        tcp_options.bind(self.socket, self.server_address)
        self.server_address = self.socket.getsockname()

    def server_activate(self) -> None:
        """Listen; may be overridden."""
        # Clients inherit them when they connect, which they may do before serve_forever.
        self._greensock.set_client_options(self.socket)
        self.socket.listen(self.request_queue_size)
        tcp_options.let_port_be_bound_again(self.socket)

    def server_close(self) -> None:
        """Close the socket and the parked clients; may be extended.

        Differs from socketserver: may be called from any thread while `serve_forever` runs; that
        stops accepting first, and goes on with the clients it has. With a `graceful_timeout` the
        server is drained first, for that many seconds at most.
        """
        service = self._greensock
        timeout = service.limits.graceful_timeout
        if timeout is not None and getattr(self, "block_on_close", True):
            BaseServer.drain(self, timeout)
        service.on_serving_greenlet(service.stop_listening)
        self.socket.close()
        service.on_serving_greenlet(service.close_clients)

    def reload_tls(
        self,
        certfile: str | os.PathLike[str] | ssl.SSLContext,
        keyfile: str | os.PathLike[str] | None = None,
        password: Any = None,
    ) -> None:
        """Give a new certificate to clients who have not yet begun their handshake.

        From any thread, and from a signal handler. Others keep the session they have. If it
        fails, the old certificate stays in force. Of several calls at once, the one that began last
        holds. One that a signal handler makes amid another, or amid the import of what serves TLS,
        returns at once: what it has interrupted puts the certificate in force, or logs a WARNING
        of the logger `greensock.tls` why not.

        Args:
            certfile: PEM file with the certificate and its chain; or a whole new context, which
                takes the old one's place (and whose clients cannot resume older sessions).
            keyfile: PEM file with its key; None: that is in `certfile` too.
            password: of the key, as for `ssl.SSLContext.load_cert_chain`.

        A certificate for another type of key (RSA, EC) joins the old one, and clients choose: then
        hand over a context.

        Raises:
            ValueError: no certificate and its key are there, or this server has no TLS.
            OSError: a file cannot be read.
        """
        loading.renew(self._greensock, certfile, keyfile, password)

    def fileno(self) -> int:
        """The socket's descriptor, -1 once it is closed."""
        return int(self.socket.fileno())

    def get_request(self) -> tuple[Any, Any]:
        """Accept a client; may be overridden.

        Raises:
            OSError: as the socket's accept().
        """
        service = self._greensock
        if service.run is None or not service.run.accepting:
            service.acceptor.await_request()
        return listening.accept_request(self.socket, service.accepted_class)

    def shutdown_request(self, request: Any) -> None:
        """Shut down and close one request; may be overridden."""
        if self.count_bytes is True:
            self._greensock.counters.add_bytes(*(traffic.volume_of(request) or (0, 0)))
        # Says the end to the client even while another process holds the socket as well. An error
        # means that the client has gone: there is nobody to tell. (`suppress` costs six calls.)
        try:  # noqa: SIM105
            request.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        self.close_request(request)

    def close_request(self, request: Any) -> None:
        """Close one request; may be overridden."""
        request.close()
        if strays.watched:
            # An object of the program's own, maybe, that does not say so itself.
            strays.closed(request)


class StreamAcceptor(Acceptor):
    """Accepts from the listener of a `TCPServer`."""

    def await_request(self) -> None:
        """Wait for a request where a loop of the program's own calls `get_request()`.

        The serving loop calls it only once there is one, and would rather hear that there is none
        after all.

        Raises:
            TimeoutError: the socket has a timeout, and it is over.
        """
        timeout = self.server.socket.gettimeout()
        if timeout != 0.0 and not wait_readable(self.server.fileno(), timeout):
            raise TimeoutError("timed out")

    def batch(self) -> int:
        """One where a second accept could block, or would keep who has come waiting."""
        service, server = self.service, self.server
        if server.socket is not service.known_listener:
            # Wrapped with TLS while it serves; wrapping has put it into blocking mode.
            os.set_blocking(server.fileno(), False)
            service.prepare()
        overridden = type(server).get_request is not TCPServer.get_request
        if overridden or server.socket.gettimeout() is not None:
            # Its second accept could block for as long as that timeout says.
            return 1
        soon_over = service.runner.hands_over or service.current_traits().waits_for_data
        return _ACCEPT_BATCH if soon_over else 1


@acceptor_of.register
def _(server: TCPServer, service: Service) -> Acceptor:
    return StreamAcceptor(service)


if hasattr(socket, "AF_UNIX"):

    class UnixStreamServer(TCPServer):
        """TCPServer on a Unix socket: `server_address` is a path."""

        address_family: int = socket.AF_UNIX
