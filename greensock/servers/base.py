"""BaseServer: socketserver's base class, with its poll loop on gevent's hub.

A server without a mixin serves one request after the other, in the greenlet that called
`serve_forever`; it holds thousands of parked clients all the same. The mixins say otherwise where a
turn runs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

from greensock.handlers.making import being_made, construct
from greensock.hub.waiting import wait_readable
from greensock.hub.waking import Latch
from greensock.servers import error_reports, process_servers
from greensock.serving.draining import Drained
from greensock.serving.runner import Runner
from greensock.serving.service import Service
from greensock.settings import limits
from greensock.settings.hooks import ClientHooks
from greensock.stats import Stats
from greensock.tls.loading import Renewals


class BaseServer(ClientHooks):
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

    Errors: what a handler raises goes to `handle_error`, once, if it is an Exception; an OSError
    from `get_request` means that there is no request after all. As in socketserver, what else
    `get_request`, `verify_request` and `service_actions` raise leaves `serve_forever`, and without
    a mixin what `handle_error` raises, and a handler's SystemExit. What a signal's handler raises
    goes to the main greenlet, wherever it comes up.

    Differs from socketserver: a subclass without `fileno()`, whose `get_request()` reads from a
    queue, say, may call `serve_forever()`: `get_request` is called again and again, and after an
    OSError once `poll_interval` is over. See also the methods.
    """

    timeout: float | None = None

    #: All that is private of a server; made by `__init__`.
    _greensock: Service
    #: Makes what runs the turns of its clients.
    _greensock_runner: Callable[[Service], Runner] = Runner

    # Set anew where a subclass has them; declared for the methods here.
    socket: Any

    def __init__(self, server_address: Any, RequestHandlerClass: Any) -> None:
        """Set up the server; may be extended, not overridden."""
        self.server_address = server_address
        self.RequestHandlerClass = RequestHandlerClass
        before = getattr(self, "_greensock", None) or limits.Settings()
        runner = type(self)._greensock_runner
        self._greensock = Service(self, BaseServer, runner, Renewals(), before)
        process_servers.note(self)

    @property
    def __shutdown_request(self) -> Any:
        """Whether serving is to end.

        The standard library's private flag: programs set it (as `_BaseServer__shutdown_request`)
        in a handler, where its `shutdown()` could only deadlock. So setting it ends the loop.
        """
        return self._greensock.lifecycle.stop_asked

    @__shutdown_request.setter
    def __shutdown_request(self, stops: Any) -> None:
        self._greensock.lifecycle.ask_to_stop(stops)

    @property
    def __is_shut_down(self) -> Latch:
        """The standard library's private event: set while serve_forever does not run."""
        return self._greensock.lifecycle.ended

    def server_activate(self) -> None:
        """Called by the constructor to activate the server; may be overridden."""

    def serve_forever(self, poll_interval: float | None = 0.5) -> None:
        """Serve requests until `shutdown()`; `timeout` is ignored.

        Args:
            poll_interval: seconds between two calls of `service_actions`, if a subclass overrides
                it; 0 or less: a millisecond; None: it is called after a wake-up only. Nothing else
                is polled for: an idle server does not wake up at all.

        Raises:
            RuntimeError: it is running already, in another thread or below the caller. Once
                `shutdown()` has returned it may be called again, by whatever thread.

        Differs from socketserver: stops within milliseconds of `shutdown()`, whatever
        `poll_interval` is; other greenlets of the thread run meanwhile; and a server has one loop
        at a time.
        """
        self._greensock.lifecycle.serve_forever(poll_interval)

    def shutdown(self) -> None:
        """Stop `serve_forever`, and wait until it has ended.

        Differs from socketserver: may be called from anywhere. Where waiting could only deadlock
        (a handler that runs in the serving greenlet, a signal handler or a hub callback in its
        thread) it asks for the stop and returns; in a handler's child it does nothing. Before
        `serve_forever` it returns at once too, and the next `serve_forever` ends as soon as it
        begins. Nothing of a hub that was made for serving is left when it returns, unless handlers
        are still at work in it.
        """
        self._greensock.lifecycle.shutdown()

    def drain(self, timeout: float = 30.0) -> Drained | None:
        """Stop serving without losing anybody; return what became of the clients.

        Nobody new is let in but who waits in the kernel's queue already, and the listener is
        closed. Parked clients are closed at once, after `on_drain`; a request that has arrived is
        answered first. Handlers that run may finish, and see `self.server.draining`. Then
        `serve_forever` ends, after `timeout` seconds at the latest: what is left then is cut, which
        closes its connection, raises GreenletExit in its greenlet and kills its child. A native
        thread cannot be ended: it finds its connection closed. This returns in time even where a
        handler lets nobody end it; without a mixin, `serve_forever` ends when that does.

        From anywhere, as `shutdown()`: where waiting could only deadlock it asks for the drain and
        returns None. A second call waits for the same drain. `server_close()` is still the
        caller's.

        Raises:
            ValueError: `timeout` is no number of seconds.
        """
        limits.check("graceful_timeout", timeout)
        return self._greensock.lifecycle.drain_and_wait(timeout)

    def pause(self) -> None:
        """Accept nobody until `resume()`: who connects waits in the kernel's queue.

        From anywhere; also before `serve_forever`. The clients that are there are served on.
        """
        self._greensock.pause(True)

    def resume(self) -> None:
        """Accept again, after `pause()`."""
        self._greensock.pause(False)

    def service_actions(self) -> None:
        """Called by `serve_forever` after each wake-up, and every `poll_interval` seconds.

        May be overridden. This one does nothing, and unless it is overridden nothing wakes for it.
        """

    def handle_request(self) -> None:
        """Wait for one request and process it.

        Waits at most `timeout` seconds, or the socket's own timeout if that is shorter, and then
        calls `handle_timeout()`; None is no limit, 0 looks once.

        Differs from socketserver: clients are not parked, since nobody would watch them
        afterwards; the handler of a kept connection runs until that ends.
        """
        sock = getattr(self, "socket", None)
        timeouts = [sock.gettimeout() if sock is not None else None, self.timeout]
        bounds = [timeout for timeout in timeouts if timeout is not None]
        if hasattr(self, "fileno"):
            if not wait_readable(self.fileno(), min(bounds, default=None)):
                self.handle_timeout()
                return
            self._greensock.prepare()
        self._handle_request_noblock()

    def _handle_request_noblock(self) -> None:
        """Process the request that is there now; none if get_request raises OSError.

        As private as in the standard library, and overridden as there.
        """
        self._greensock.acceptor.accept_noting_error()

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
        self._greensock.serve_here(request, client_address)

    def server_close(self) -> None:
        """Clean up the server; may be extended. Parked clients are closed."""
        self._greensock.close_clients()

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Make an instance of RequestHandlerClass, whose constructor handles the request.

        Differs from socketserver: a client who is parked is finished later; an override of this
        method is called once a client, in its first turn, and under ForkingMixIn once in each child
        that makes the handler anew.
        """
        handler_class = self.RequestHandlerClass
        service = self._greensock
        if service.transport.has_sessions and not service.transport.greet(request, client_address):
            return
        traits = service.turns.traits
        if traits.handler_class is not handler_class:
            traits = service.current_traits()
        if being_made and not traits.hands_over:
            construct(handler_class, request, client_address, self)
        elif traits.is_plain_class:
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
        logger `greensock.serve`, and counted apart. A connection of the handler's own that fails is
        an error like others; a bare `raise ConnectionError`, in a method of the handler, says that
        its client has left.
        """
        error_reports.report(self, request, client_address)

    def stats(self) -> Stats:
        """A snapshot of the server's counters; cheap, from any thread."""
        return self._greensock.clients.stats(self.count_bytes is True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *args: object) -> None:
        self.server_close()
