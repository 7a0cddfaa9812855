"""The servers: socketserver's classes, with their poll loop on gevent's hub.

A server without a mixin serves one request after the other, in the greenlet that called
`serve_forever`; it holds thousands of parked clients all the same. The mixins say otherwise where a
turn runs.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from typing import Any, Self

from greensock import error_reports
from greensock.client_care import ClientCare
from greensock.handlers import HandlerShape, being_opened, construct
from greensock.hub import lifetime
from greensock.hub.lot import PARKED
from greensock.hub.waiting import wait_readable
from greensock.hub.waking import Latch
from greensock.net import listening
from greensock.net.listening import AcceptError
from greensock.net.request_sockets import OriginalSocket
from greensock.serving import Serving
from greensock.stats import Counters, Stats

_log = logging.getLogger("greensock.serve")

# Accepts per wake-up. Measured with 900 clients at once and handlers of 50 us: 4 to 16 take 74 to
# 79 ms in all and keep an echo at 0.7-2.6 ms, 64 are no faster and make it 10 ms.
_ACCEPT_BATCH = 8


class BaseServer(ClientCare):
    """Base class of server classes.

    Methods for the caller: `__init__(server_address, RequestHandlerClass)`,
    `serve_forever(poll_interval=0.5)`, `shutdown()`, `handle_request()` (without serve_forever),
    `server_close()`, `fileno()`, `stats()`; a server is a context manager that closes itself.

    Methods that may be overridden: `server_bind()`, `server_activate()`, `get_request()`,
    `handle_timeout()`, `verify_request(request, client_address)`, `server_close()`,
    `process_request(request, client_address)`, `shutdown_request(request)`,
    `close_request(request)`, `service_actions()`, `handle_error(request, client_address)`.

    Methods for derived classes: `finish_request(request, client_address)`.

    Class variables: `timeout` (seconds `handle_request` waits; None: for ever), `address_family`,
    `socket_type`, `allow_reuse_address`, `allow_reuse_port`, `request_queue_size`.

    Instance variables: `server_address`, `RequestHandlerClass`, `socket`.

    Resources: whoever makes a server calls `server_close()`. Parked clients stay open after
    `shutdown()`, unserved until the next `serve_forever()`; `server_close()` closes them.

    Errors: what a handler raises goes to `handle_error`, if it is an Exception; an OSError from
    `get_request` means that there is no request after all.

    Differs from socketserver: a subclass without `fileno()`, whose `get_request()` reads from a
    queue, say, may call `serve_forever()`: `get_request` is called again and again, and after an
    OSError once `poll_interval` is over. See also the methods.
    """

    timeout: float | None = None

    # Set anew where a subclass has them; declared for the methods here.
    socket: Any

    def __init__(self, server_address: Any, RequestHandlerClass: Any) -> None:
        """Set up the server; may be extended, not overridden."""
        self.server_address = server_address
        self.RequestHandlerClass = RequestHandlerClass
        self.__is_shut_down = Latch(is_set=True)
        self.__shutdown_request = False
        self.__serving_greenlet: Any = None
        self._pid = os.getpid()
        ClientCare.__init__(self)
        self._counters = Counters()

    @property
    def _stopping(self) -> bool:
        return self.__shutdown_request

    def server_activate(self) -> None:
        """Called by the constructor to activate the server; may be overridden."""

    def serve_forever(self, poll_interval: float = 0.5) -> None:
        """Serve requests until `shutdown()`; `timeout` is ignored.

        Args:
            poll_interval: seconds between two calls of `service_actions`, if a subclass overrides
                it. Nothing else is polled for: an idle server does not wake up at all.

        Differs from socketserver: stops within milliseconds of `shutdown()`, whatever
        `poll_interval` is; and other greenlets of the thread run meanwhile.
        """
        # First: a signal handler may call shutdown() before there is a loop to stop.
        self.__serving_greenlet = lifetime.current_greenlet()
        self.__is_shut_down.clear()
        with lifetime.borrowed_hub() as ends_with_us:
            try:
                self._serve(poll_interval)
            finally:
                self.__shutdown_request = False
                self.__is_shut_down.set()
                self._leave_hub(ends_with_us)

    def _serve(self, poll_interval: float) -> None:
        if self.__shutdown_request:
            return
        self._handler_shape = HandlerShape(self.RequestHandlerClass)
        self._is_closed = False
        serving = self._serving = Serving(self, poll_interval)
        try:
            self._prepare_listener()
            self._resume(serving)
            serving.run()
        finally:
            self._suspend(serving)

    def _leave_hub(self, hub_ends: bool) -> None:
        """After serving: see to the greenlets of a hub that is about to end."""

    def shutdown(self) -> None:
        """Stop `serve_forever`, and wait until it has ended.

        Differs from socketserver: may be called from anywhere. Where waiting could only deadlock
        (a handler that runs in the serving greenlet, a signal handler or a hub callback in its
        thread, a child) it asks for the stop and returns. Before `serve_forever` it returns at
        once too, and the next `serve_forever` ends as soon as it begins.
        """
        if os.getpid() != self._pid:
            return
        self.__shutdown_request = True
        serving = self._serving
        if serving is not None:
            serving.stopping = True
            serving.sleeper.ring_soon()
        if lifetime.current_greenlet() is not self.__serving_greenlet:
            self.__is_shut_down.wait()

    def service_actions(self) -> None:
        """Called by `serve_forever` after each wake-up, and every `poll_interval` seconds.

        May be overridden. This one does nothing, and unless it is overridden nothing wakes for it.
        """

    def _wants_service(self) -> bool:
        return type(self).service_actions is not BaseServer.service_actions

    def handle_request(self) -> None:
        """Wait for one request and process it.

        Waits at most `timeout` seconds, or the socket's own timeout if that is shorter, and then
        calls `handle_timeout()`; None is no limit, 0 looks once.

        Differs from socketserver: clients are not parked, since nobody would watch them
        afterwards; the handler of a kept connection runs until that ends.
        """
        sock = getattr(self, "socket", None)
        timeouts = [sock.gettimeout() if sock is not None else None, self.timeout]
        limits = [timeout for timeout in timeouts if timeout is not None]
        if hasattr(self, "fileno"):
            if not wait_readable(self.fileno(), min(limits, default=None)):
                self.handle_timeout()
                return
            self._prepare_listener()
        self._handle_request_noblock()

    def _handle_request_noblock(self) -> None:
        """Process the request that is there now; none if get_request raises OSError."""
        self._accept_one()

    def _accept_one(self) -> AcceptError | None:
        try:
            request, client_address = self.get_request()
        except OSError as error:
            return listening.classify(error)
        self._counters.accepted += 1
        if type(request) is OriginalSocket or type(request) is socket.socket:
            request = listening.adopt(request, self._request_class())
        if not self.verify_request(request, client_address):
            self.shutdown_request(request)
            return None
        try:
            self.process_request(request, client_address)
        except Exception:  # noqa: BLE001 - handle_error is told, as documented
            self.handle_error(request, client_address)
            self.shutdown_request(request)
        except BaseException:
            self.shutdown_request(request)
            raise
        return None

    def _accept_batch(self) -> int:
        return 1

    def handle_timeout(self) -> None:
        """Called by `handle_request` if no request came in time; does nothing here."""

    def get_request(self) -> tuple[Any, Any]:
        """Return the next request and the client's address; subclasses define it.

        Raises:
            OSError: there is none after all.
        """
        raise NotImplementedError(f"{type(self).__qualname__} must define get_request()")

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Say whether to process the request; True here. May be overridden."""
        return True

    def process_request(self, request: Any, client_address: Any) -> None:
        """Process one request: here at once, in the mixins in a greenlet, thread or child.

        Differs from socketserver: a client who can be parked may be so when this returns.
        """
        client = self._admit(request, client_address)
        if client is None:
            self.finish_request(request, client_address)
            self.shutdown_request(request)

    def server_close(self) -> None:
        """Clean up the server; may be extended. Parked clients are closed."""
        self._close_clients()

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Make an instance of RequestHandlerClass, whose constructor handles the request.

        Differs from socketserver: a client who is parked is finished later; an override of this
        method is called once a client, in its first turn.
        """
        handler_class = self.RequestHandlerClass
        if being_opened:
            construct(handler_class, request, client_address, self)
        elif self._shape().is_plain_class:
            # What calling the class does, less the layers of C between: they would cost each
            # greenlet that blocks in its handler 0.8 KiB of saved C stack.
            handler = handler_class.__new__(handler_class)
            handler.__init__(request, client_address, self)
        else:
            handler_class(request, client_address, self)

    def shutdown_request(self, request: Any) -> None:
        """Shut down and close one request; may be overridden."""
        self.close_request(request)

    def close_request(self, request: Any) -> None:
        """Clean up one request; may be overridden."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Called in an `except` clause with what a handler raised; may be overridden.

        Writes the traceback to standard error, and counts.

        Differs from socketserver: a client who has merely gone away (ConnectionError), or was
        silent for longer than the timeout that its handler had set, is one DEBUG record of the
        logger `greensock.serve`, and counted apart.
        """
        error_reports.report(self._counters, request, client_address)

    def stats(self) -> Stats:
        """A snapshot of the server's counters; cheap, from any thread."""
        serving = self._serving
        clients = list(serving.lot.clients.values()) if serving is not None else self._suspended
        counters = self._counters
        return Stats(
            accepted=counters.accepted,
            disconnects=counters.disconnects,
            timeouts=counters.timeouts,
            errors=counters.errors,
            open=len(clients),
            parked=sum(client.state is PARKED for client in clients),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *args: object) -> None:
        self.server_close()


class TCPServer(BaseServer):
    """A server of TCP clients: `BaseServer` with a listening socket.

    Args:
        server_address: what the socket is bound to, for TCP a pair of host and port (0: a free
            one); afterwards `server_address` is the address in force.
        RequestHandlerClass: makes the handler of each request.
        bind_and_activate: False leaves `server_bind()` and `server_activate()` to the caller.

    Class variables: `address_family`, `socket_type`, `request_queue_size` (the kernel's queue of
    clients not yet accepted), `allow_reuse_address`, `allow_reuse_port` (set the socket's options
    before it is bound), `tcp_nodelay`.

    Raises:
        OSError: the address cannot be bound; the socket is closed then.

    Differs from socketserver: `request_queue_size` is `socket.SOMAXCONN` in place of 5 (as in
    CPython 3.15: 5 drops the connects of a crowd, which come back after a second). Accepted
    sockets have Nagle's algorithm off unless `tcp_nodelay` is False. Under greenlets, and without a
    mixin, they are cooperative: what blocks in them blocks one greenlet.
    """

    address_family: int = socket.AF_INET
    socket_type: int = socket.SOCK_STREAM
    request_queue_size = socket.SOMAXCONN
    allow_reuse_address = False
    allow_reuse_port = False
    #: Whether Nagle's algorithm is off for accepted TCP clients, as in asyncio and Go: handlers
    #: that write head and body apart would otherwise wait 44 ms for a delayed acknowledgement.
    tcp_nodelay = True

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
        """Bind the socket; may be overridden."""
        if self.allow_reuse_address and hasattr(socket, "SO_REUSEADDR"):
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if self.allow_reuse_port and hasattr(socket, "SO_REUSEPORT"):
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()

    def server_activate(self) -> None:
        """Listen; may be overridden."""
        if self.tcp_nodelay:
            # Clients inherit it when they connect, which they may do before serve_forever.
            listening.switch_nagle_off(self.socket)
        self.socket.listen(self.request_queue_size)

    def server_close(self) -> None:
        """Close the socket and the parked clients; may be extended.

        Differs from socketserver: may be called from any thread while `serve_forever` runs; that
        stops accepting first, and goes on with the clients it has.
        """
        self._on_serving_greenlet(self._stop_listening)
        self.socket.close()
        self._on_serving_greenlet(self._close_clients)

    def _stop_listening(self) -> None:
        if self._serving is not None:
            self._serving.stop_listening()

    def fileno(self) -> int:
        """The socket's descriptor, -1 once it is closed."""
        return int(self.socket.fileno())

    def get_request(self) -> tuple[Any, Any]:
        """Accept a client; may be overridden.

        Raises:
            OSError: as the socket's accept().
        """
        return listening.accept_request(self.socket, self._request_class())

    def _accept_batch(self) -> int:
        overridden = type(self).get_request is not TCPServer.get_request
        if overridden or self.socket.gettimeout() is not None:
            # Its second accept could block for as long as that timeout says.
            return 1
        return _ACCEPT_BATCH if self._shape().waits_for_data else 1

    def shutdown_request(self, request: Any) -> None:
        """Shut down and close one request; may be overridden."""
        # Says the end to the client even while another process holds the socket as well. An error
        # means that the client has gone: there is nobody to tell.
        with contextlib.suppress(OSError):
            request.shutdown(socket.SHUT_WR)
        self.close_request(request)

    def close_request(self, request: Any) -> None:
        """Close one request; may be overridden."""
        request.close()


if hasattr(socket, "AF_UNIX"):

    class UnixStreamServer(TCPServer):
        """TCPServer on a Unix socket: `server_address` is a path."""

        address_family: int = socket.AF_UNIX
