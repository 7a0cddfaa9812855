"""All that a server does for its clients, and keeps for that: what is private of a server.

A program's server has its public names, those of the standard library, and one of these. So a
program may call its own attributes what it likes, and what this consists of is seen in one place.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from greenlet import getcurrent

from greensock.handlers.classes import quick_runner
from greensock.handlers.traits import HandlerTraits
from greensock.hub.waking import Latch
from greensock.lot import contexts
from greensock.lot.client import DEDICATED, ENDING, PARKED, Client
from greensock.lot.lot import Lot
from greensock.lot.outcomes import END
from greensock.net import listening, tcp_options
from greensock.net.listening import AcceptError
from greensock.serving.acceptor import acceptor_of
from greensock.serving.lifecycle import Lifecycle
from greensock.serving.open_clients import OpenClients
from greensock.serving.run import Run
from greensock.serving.runner import Beginner, Runner
from greensock.serving.transport import Transport
from greensock.settings.limits import Limits, Settings, is_foreign
from greensock.sockets import accepted_kinds
from greensock.sockets.requests import is_request_socket
from greensock.stats import Counters
from greensock.turns.endings import Endings
from greensock.turns.plain import Turns

if TYPE_CHECKING:
    from greensock.tls.loading import Renewals

_log = logging.getLogger("greensock.serve")


class Service(Settings):
    """What one server does for its clients, for its life.

    Args:
        server: the server.
        defaults: the class whose hooks are what a program has not overridden.
        runner: what makes what runs its turns.
        renewals: the certificates that it is given.
        before: the settings that it has had before this was made.
    """

    def __init__(
        self,
        server: Any,
        defaults: Any,
        runner: Callable[[Service], Runner],
        renewals: Renewals,
        before: Settings,
    ) -> None:
        super().__init__(before.own)
        self.server = server
        self.defaults = defaults
        self.renewals = renewals
        self.counters = Counters()
        #: What clients keep in context variables, of those who do.
        self.contexts = contexts.Contexts()
        #: The greenlet that serves, and whether it has context variables of its own.
        self.greenlet: Any = None
        self.has_context = False
        #: The run of serve_forever that goes on.
        self.run: Run | None = None
        #: Whether server_close() was called: then nobody is parked any more.
        self.is_closed = False
        self.is_paused = False
        #: Whether this is the child of a handler, where the server is its parent's.
        self.is_parents = False
        #: Whether newcomers are looked at before they are let in.
        self.checks_newcomers = False
        #: Forks that this process has made or come from until now.
        self.forks_before = listening.forks_until_now()
        #: The listener that `prepare` has looked at.
        self.known_listener: Any = None
        self.is_of_datagrams = self._socket_type() == socket.SOCK_DGRAM
        self.clients = OpenClients(self, counted=not self.is_of_datagrams)
        self.runner = runner(self)
        # Where turns run elsewhere than the hub, a client is to be told of once only.
        elsewhere = self.runner.in_children or not self.runner.runs_on_hub()
        self.lot = Lot(told_once=elsewhere)
        self.lot.contexts = self.contexts
        self.lifecycle = Lifecycle(self)
        self.endings = Endings(server, self.runner.release, self._leave_to_serving)
        self.transport = Transport(self)
        self.turns = self._new_turns(HandlerTraits(server.RequestHandlerClass))
        self.acceptor = acceptor_of(server, self)
        #: What makes a request that suits where handlers run.
        self.accepted_class = self.runner.request_class()
        self.limits = Limits(server)

    # What the program has said

    def _socket_type(self) -> Any:
        return getattr(self.server, "socket_type", None)

    def is_of_streams(self) -> bool:
        """Whether clients connect to the server, and are accepted."""
        return self._socket_type() in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET)

    def has_hook(self, name: str) -> bool:
        """Whether a hook that only greensock has is overridden, by a class or on this server."""
        if is_foreign(type(self.server)):
            return False
        hook = getattr(self.server, name)
        return callable(hook) and getattr(hook, "__func__", None) is not getattr(
            self.defaults, name
        )

    def own_context(self) -> Any:
        """The context with which the server is to serve TLS; None: it is not.

        A program that knows nothing of greensock does itself what it has its context for.
        """
        server = self.server
        return None if is_foreign(type(server)) else getattr(server, "ssl_context", None)

    def quick_runner(self) -> Beginner:
        """What makes and runs a handler for a request that cannot be parked."""
        return quick_runner(self.server.RequestHandlerClass)

    def setting_changed(self, name: str) -> None:
        """A limit was set: have it hold from now on, in whatever thread that was."""
        self.limits.take(name, self.server)
        if self.run is not None:
            self.run.do_soon(self.run.read_settings)

    def pause(self, is_paused: bool) -> None:
        """Accept nobody, or accept again."""
        self.is_paused = is_paused
        self.on_serving_greenlet(self._read_settings)

    def _read_settings(self) -> None:
        if self.run is not None:
            self.run.read_settings()

    def stop_listening(self) -> None:
        """In the serving greenlet: the listener is about to be closed."""
        if self.run is not None:
            self.run.listener.close()

    def set_client_options(self, listener: Any) -> None:
        """Have the clients of a listener inherit what the server says of them."""
        tcp_options.set_on_listener(
            listener,
            nodelay=self.server.tcp_nodelay,
            keepalive=self.limits.tcp_keepalive,
            write_timeout=self.limits.write_timeout,
        )

    # What follows from the listener and the handler class

    def prepare(self) -> None:
        """Have requests accepted in the class that suits where turns run, and turns run for them.

        Raises:
            TypeError, ValueError: TLS cannot be served as the program wants it.
        """
        listener = self.known_listener = getattr(self.server, "socket", None)
        if self.own_context() is not None or listening.is_ssl_socket(listener):
            self.transport = self.renewals.new_transport(self, self.transport)
        else:
            self.transport.close()
            self.transport = Transport(self)
        traits = self.transport.traits_of(self.server.RequestHandlerClass)
        self.turns = self.turns.followed_by(self._new_turns(traits))
        self.accepted_class = accepted_kinds.suiting(self.transport.new_request(), listener)
        if type(listener) is listening.ListeningSocket:
            listener.request_class = self.accepted_class

    def _new_turns(self, traits: HandlerTraits) -> Turns:
        return self.transport.new_turns(
            traits, self.endings, self.runner.keeps_unread, self.prepare
        )

    def current_traits(self) -> HandlerTraits:
        """What is to be known of the handler that the program makes now."""
        return self.turns.current_traits()

    # Clients, from their coming

    def let_in(self, request: Any, client_address: Any) -> bool:
        """Look at a newcomer; False if it was turned away."""
        run = self.run
        if run is not None and run.observes:
            self.tell("new", request, client_address)
        if run is not None and not run.admission.lets_in(request, client_address):
            run.admission.turn_away(request, client_address)
            if run.observes:
                self.tell("closed", request, client_address)
            return False
        if self.limits.idle_timeout is not None:
            request.settimeout(self.limits.idle_timeout)
        return True

    def admit(self, request: Any, client_address: Any) -> Client | None:
        """Take a request into the lot's care if its clients can be parked; None if they cannot."""
        run = self.run
        if run is None or self.is_of_datagrams:
            return None
        traits = self.turns.traits
        if traits.handler_class is not self.server.RequestHandlerClass:
            traits = self.turns.current_traits()
        is_ours = type(request) is self.accepted_class or is_request_socket(request)
        if not (traits.parks and is_ours):
            return None
        if run.offered is request:
            # As `OpenClients.take`, without its call.
            run.offered = None
        else:
            self.clients.take(request)
        client = Client(request, client_address)
        self.lot.admit(client)
        if traits.waits_for_data:
            if traits.timeout is not None:
                # As its setup() will; until then there is no handler to do so.
                request.settimeout(traits.timeout)
            if not self.turns.receive_first(client):
                self.lot.park(client)
                return client
        self.lot.make_ready(client)
        return client

    def serve_here(self, request: Any, client_address: Any) -> None:
        """What `process_request` of a server without a mixin does: handle it at once."""
        if self.admit(request, client_address) is not None:
            return
        self.clients.begin_dedicated(request, client_address)
        finish = functools.partial(self.server.finish_request, request, client_address)
        try:
            if self.run is None:
                finish()
            else:
                contexts.run_apart(self.contexts, None, finish)
            self.server.shutdown_request(request)
        finally:
            self.clients.end_dedicated(request, client_address)

    def reject_one(self, at_once: bool = False) -> AcceptError | None:
        """Accept a client for whom there is no room, and turn it away."""
        got = self.acceptor.next_request()
        if isinstance(got, AcceptError):
            return got
        self.counters.accepted += 1
        if self.run is not None:
            self.run.admission.turn_away(*got, at_once)
        return None

    def have_no_worker(self, client: Client) -> None:
        """In an `except` clause: the system has no thread or process for a turn of `client`.

        It waits, as for a bound of the server's own, or is closed if newcomers are rejected. Where
        nobody serves who could try again, only this client is lost.
        """
        run = self.run
        if run is not None and self.limits.overflow != "reject":
            run.postpone(client)
            return
        was_dedicated = client.state is DEDICATED
        if run is not None and client.handler is None:
            if not was_dedicated:
                self.lot.discard(client)
            run.admission.turn_away(client.request, client.address)
        else:
            if run is None:
                self.server.handle_error(client.request, client.address)
            client.end_soon()
            self.endings.end_one_of_many(client, None)
            if run is not None:
                run.settle(client, END)
        if run is not None:
            run.note_no_workers()
        if was_dedicated:
            self.clients.end_dedicated(client.request, client.address)

    def tell(self, state: str, request: Any, client_address: Any) -> None:
        """Tell an overridden `on_connection`."""
        try:
            self.server.on_connection(state, request, client_address)
        except BaseException as error:  # noqa: BLE001 - raised again if it is the owner's
            self.endings.tell_beside(request, client_address, error)

    def observes(self) -> bool:
        """Whether the program is told of what becomes of its clients."""
        return self.has_hook("on_connection") and self.is_of_streams()

    # Their end

    def note_silence(self, client: Client) -> None:
        """Count a client who said nothing between two turns for as long as its timeout."""
        idle, own = self.limits.idle_timeout, client.request.timeout
        kind = "handler" if idle is None or (own is not None and own < idle) else "idle"
        self.counters.add_timeout(kind)
        _log.debug("%r said nothing for its timeout (%s)", client.address, kind)

    def close_clients(self) -> None:
        """Close every client that is parked, through its handler's finish()."""
        self.is_closed = True
        if self.run is not None:
            self.run.take_back()
        clients = [*self.clients.take_waiting(), *self.lot.clients.values()]
        # Each, whatever comes up at one of them; what is for the caller is raised at the end.
        with contextlib.ExitStack() as stack:
            stack.callback(self.lot.close)
            for client in reversed(clients):
                stack.callback(self._close_left, client)

    def _close_left(self, client: Client) -> None:
        if client.state is DEDICATED:
            self.endings.close_beside(client.request, client.address)
            self.clients.end_dedicated(client.request, client.address)
        elif client.state is PARKED or (client.state is ENDING and self.run is None):
            self.runner.close_client(client)

    def close_unparked(self, client: Client, silent_since: float) -> None:
        """Close a client whose turn is over and who would be parked if the server were open.

        Who was `silent_since` before a drain began had been waited for, in a thread or child, as
        the lot waits for others, and is closed as they are.
        """
        drain = self.lifecycle.drain
        if drain is None:
            self.runner.close_client(client)
        elif 0.0 < silent_since < drain.begun:
            drain.close_idle(client)
        else:
            drain.close_busy(client)

    def end_client(self, client: Client) -> None:
        """End a client who is not at work, in a context of its own."""
        contexts.run_apart(self.contexts, client, functools.partial(self._end_client, client))

    def _end_client(self, client: Client) -> None:
        self.lot.discard(client)
        if self.run is None:
            self.clients.gone(id(client.request), client.request, client.address)
            if self.observes():
                self.tell("closed", client.request, client.address)
        self.endings.end_one_of_many(client, None)

    def end_left_over(self, client: Client) -> None:
        """Where a turn ran that has outlived its run: its client is about to be closed."""
        if self.lot.clients.get(client.request) is client:
            self.clients.come_back(client, END)

    # Runs of serve_forever

    def attach(self, run: Run) -> None:
        """A run of `serve_forever` begins, in the calling greenlet."""
        self.runner.attach(run)
        self.lot.attach(run.queue, run.client_silent, run.sleeper.ring_soon)
        self.greenlet = getcurrent()
        self.has_context = self.greenlet.gr_context is not None
        self.clients.go_on(run)

    def detach(self, run: Run) -> None:
        """It has ended: keep the clients for the next, or for `server_close`."""
        self.transport.close()
        self.run = None
        self.checks_newcomers = False
        self.clients.wait_for_next(run)
        if self.is_closed:
            self.lot.close()
        self.runner.detach()

    def _leave_to_serving(self, errand: Callable[[], Any]) -> bool:
        """In the main greenlet: have it done where that serves; False if it does not."""
        run = self.run
        return run is not None and run.sleeper.is_main() and run.do_soon(errand)

    def on_serving_greenlet(self, errand: Callable[[], Any]) -> None:
        """Have `errand` called where the lot may be touched, and wait until it was."""
        run = self.run
        done = Latch()

        def do() -> None:
            try:
                errand()
            finally:
                done.set()

        if run is None or run.sleeper.in_this_thread() or not run.do_soon(do):
            errand()
        else:
            done.wait()
