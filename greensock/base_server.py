"""BaseServer: socketserver's base class, with its poll loop on gevent's hub.

A server without a mixin serves one request after the other, in the greenlet that called
`serve_forever`; it holds thousands of parked clients all the same. The mixins say otherwise where a
turn runs.
"""

from __future__ import annotations

import functools
import logging
from time import monotonic
from typing import Any, Self

from greensock import draining, error_reports, limits, process_servers
from greensock.accepting import Accepting
from greensock.client_care import ClientCare
from greensock.draining import Drain, Drained
from greensock.handler_making import being_made, construct
from greensock.hub import client_contexts, interrupts, lifetime
from greensock.hub.lot import PARKED, WHOLE
from greensock.hub.waiting import wait_readable
from greensock.hub.waking import Latch
from greensock.net import listening
from greensock.serving import Serving
from greensock.stats import Counters, Stats

_log = logging.getLogger("greensock.serve")

# Seconds that whoever waits for a drain has to hear of it before serve_forever ends.
_WAKING = 0.1


class BaseServer(Accepting):
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

    _gs_stop_asked: Any

    # Set anew where a subclass has them; declared for the methods here.
    socket: Any

    def __init__(self, server_address: Any, RequestHandlerClass: Any) -> None:
        """Set up the server; may be extended, not overridden."""
        self.server_address = server_address
        self.RequestHandlerClass = RequestHandlerClass
        self._gs_serving: Serving | None = None
        self.__is_shut_down = Latch(is_set=True)
        self.__shutdown_request = False
        self.__serving_greenlet: Any = None
        self._gs_counters = Counters()
        ClientCare.__init__(self)
        self._gs_limits = limits.Limits(self)
        self._gs_forks_before = listening.forks_until_now()
        process_servers.note(self)

    @property
    def __shutdown_request(self) -> Any:
        """Whether serving is to end.

        The standard library's private flag: programs set it (as `_BaseServer__shutdown_request`)
        in a handler, where its `shutdown()` could only deadlock. So setting it ends the loop.
        """
        return self._gs_stop_asked

    @__shutdown_request.setter
    def __shutdown_request(self, stops: Any) -> None:
        self._gs_stop_asked = stops
        serving = self._gs_serving
        if stops and serving is not None:
            serving.stopping = True
            serving.sleeper.ring_soon()

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
        if not self.__is_shut_down.claim():
            raise RuntimeError(
                f"serve_forever() of {self!r} is running already: one loop serves all clients, and "
                f"a mixin says what their handlers run in"
            )
        # First: a signal handler may call shutdown() before there is a loop to stop.
        self.__serving_greenlet = lifetime.current_greenlet()
        ended = self.__is_shut_down = Latch()
        try:
            with lifetime.borrowed_hub() as ends_with_us, interrupts.heard():
                try:
                    self._gs_serve(poll_interval)
                except BaseException as error:
                    if interrupts.is_interrupt(error):
                        # This may be a greenlet of the main thread, and not its main one.
                        interrupts.pass_on(error)
                    raise
                finally:
                    self._gs_leave_hub(ends_with_us)
        finally:
            # Last of all: who waits for it finds nothing of the hub in this thread, and what the
            # program does behind this call done, as a rule: the thread goes on with the
            # interpreter's lock, for which the other one has yet to wait.
            self._gs_note_end(ended)

    def _gs_note_end(self, ended: Latch) -> None:
        if not ended.is_set():
            self.__shutdown_request = False
            ended.set()

    def _gs_serve(self, poll_interval: float | None) -> None:
        if self.__shutdown_request:
            return
        self._gs_is_closed = False
        if self._gs_serving is not None:
            # In a child that its serving greenlet has forked, in a handler that it may return to.
            self._gs_serving.stopping = True
        serving = self._gs_serving = Serving(self, poll_interval)
        # Asked for by another thread since it was looked at.
        serving.stopping = self.__shutdown_request
        self._gs_counters.begun = monotonic()
        try:
            self._gs_prepare_listener()
            self._gs_resume(serving)
            serving.read_settings()
            serving.run()
        finally:
            self._gs_counters.begun = None
            self._gs_suspend(serving)
            drain, self._gs_drain = self._gs_drain, None
            if drain is not None:
                drain.serving_ended()
                drain.done.let_go()
                drain.done.let_threads_go(_WAKING)

    def _gs_leave_hub(self, hub_ends: bool) -> None:
        """After serving: see to the greenlets of a hub that is about to end."""
        if hub_ends and self.__is_shut_down.is_awaited_here():
            self._gs_do_not_wait_for_hub()
            self.__is_shut_down.let_go()

    def _gs_do_not_wait_for_hub(self) -> None:
        """Have shutdown() return, though greenlets go on that need the hub."""
        self._gs_note_end(self.__is_shut_down)

    def shutdown(self) -> None:
        """Stop `serve_forever`, and wait until it has ended.

        Differs from socketserver: may be called from anywhere. Where waiting could only deadlock
        (a handler that runs in the serving greenlet, a signal handler or a hub callback in its
        thread) it asks for the stop and returns; in a handler's child it does nothing. Before
        `serve_forever` it returns at once too, and the next `serve_forever` ends as soon as it
        begins. Nothing of a hub that was made for serving is left when it returns, unless handlers
        are still at work in it.
        """
        if self._gs_is_parents:
            return
        self._gs_ask_to_stop()
        if lifetime.current_greenlet() is not self.__serving_greenlet:
            self.__is_shut_down.wait()

    def _gs_ask_to_stop(self) -> None:
        self.__shutdown_request = True

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
        if self._gs_is_parents:
            return None
        if self._gs_serving is None:
            self.draining = True
            self._gs_ask_to_stop()
            return draining.drain_unserved(self, timeout)
        drain = self._gs_start_drain(timeout)
        caller = lifetime.current_greenlet()
        if caller is self.__serving_greenlet or self._gs_is_worker() or drain.is_kept_by(caller):
            return None
        # Not for the end of serve_forever: what was cut may hold its hub beyond the deadline.
        return drain.await_report()

    def _gs_start_drain(self, timeout: float) -> Drain:
        drain = self._gs_drain
        if drain is None:
            drain = self._gs_drain = Drain(self, timeout)
            # After it has noted the time: who sees that was busy when it began.
            self.draining = True
            if not drain.start():
                drain.serving_ended()
        return drain

    def _gs_drain_or_hurry(self, timeout: float) -> None:
        """What a signal asks for: at first a drain, the next time its end. Never blocks."""
        if self._gs_drain is not None:
            self._gs_drain.hurry()
        elif self._gs_serving is not None:
            self._gs_start_drain(timeout)
        else:
            self._gs_ask_to_stop()

    def service_actions(self) -> None:
        """Called by `serve_forever` after each wake-up, and every `poll_interval` seconds.

        May be overridden. This one does nothing, and unless it is overridden nothing wakes for it.
        """

    def _gs_wants_service(self) -> bool:
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
            self._gs_prepare_listener()
        self._handle_request_noblock()

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
        if self._gs_admit(request, client_address) is not None:
            return
        self._gs_begin_whole(request, client_address)
        finish = functools.partial(self.finish_request, request, client_address)
        try:
            if self._gs_serving is None:
                finish()
            else:
                client_contexts.run_apart(self._gs_contexts, None, finish)
            self.shutdown_request(request)
        finally:
            self._gs_end_whole(request, client_address)

    def server_close(self) -> None:
        """Clean up the server; may be extended. Parked clients are closed."""
        self._gs_close_clients()

    def _gs_drain_before_close(self) -> None:
        """What server_close() does first where `graceful_timeout` bounds how long it may take."""
        timeout = self._gs_limits.graceful_timeout
        if timeout is not None and getattr(self, "block_on_close", True):
            BaseServer.drain(self, timeout)

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Make an instance of RequestHandlerClass, whose constructor handles the request.

        Differs from socketserver: a client who is parked is finished later; an override of this
        method is called once a client, in its first turn, and under ForkingMixIn once in each child
        that makes the handler anew.
        """
        handler_class = self.RequestHandlerClass
        if self._gs_tls is not None and not self._gs_tls.greet(request, client_address):
            return
        shape = self._gs_shape()
        if being_made and not shape.hands_over:
            construct(handler_class, request, client_address, self)
        elif shape.is_plain_class:
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
        serving = self._gs_serving
        clients = [] if serving is None else list(serving.lot.clients.values())
        clients += self._gs_left_over()
        listed = [client for client in clients if client.state is not WHOLE]
        parked = sum(client.state is PARKED for client in listed)
        return self._gs_counters.snapshot(len(listed), parked, self.count_bytes is True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *args: object) -> None:
        self.server_close()
