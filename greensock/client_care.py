"""What a server does for the clients in its lot, and where turns run: what the mixins override."""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from greenlet import getcurrent

from greensock import endings, lingering_turns, turns, whereabouts, whole_requests
from greensock.draining import AtWork, Drain, hang_up
from greensock.handler_shape import HandlerShape
from greensock.hub import client_contexts
from greensock.hub.lot import BUSY, ENDING, PARKED, WHOLE, Client, ReadyQueue
from greensock.hub.waking import Latch
from greensock.limits import Limits
from greensock.net.listening import AcceptError
from greensock.net.request_sockets import (
    SMALL_READ_SIZE,
    OriginalSocket,
    is_request_socket,
)
from greensock.open_clients import OpenClients
from greensock.serving import Serving
from greensock.stats import Counters

if TYPE_CHECKING:
    from greensock.networks import Networks
    from greensock.tls_serving import TlsServing

_log = logging.getLogger("greensock.serve")


class ClientCare(OpenClients):
    """The part of BaseServer that looks after parked clients. For BaseServer and the mixins only.

    Here turns run one after the other in the serving greenlet.
    """

    RequestHandlerClass: Any
    #: What turns run in, of which the system may have none left.
    _gs_workers = ""
    _gs_serving: Serving | None
    _gs_counters: Counters
    _gs_limits: Limits
    if TYPE_CHECKING:
        _gs_next_request: Callable[[], tuple[Any, Any] | AcceptError]
        handle_error: Callable[[Any, Any], None]
        shutdown_request: Callable[[Any], None]

    #: The drain that goes on, if any.
    _gs_drain: Drain | None = None

    #: Whether handlers run elsewhere than in process_request, which then is soon over.
    _gs_hands_over = False
    #: Whether this is the child of a handler, where the server is its parent's.
    _gs_is_parents = False
    #: Whether what a turn has received and not read is there for the next.
    _gs_shares_unread = True

    def __init__(self) -> None:
        #: What clients keep in context variables, of those who do.
        self._gs_contexts = client_contexts.Contexts()
        #: The greenlet that serves, and whether it has context variables of its own.
        self._gs_greenlet: Any = None
        self._gs_has_context = False
        self._gs_handler_shape = HandlerShape(self.RequestHandlerClass)
        #: What serves over TLS; None: clients are served as they come.
        self._gs_tls: TlsServing | None = None
        #: TLS sessions that wait to say their last word, if there ever was one.
        self._gs_farewells: Any = None
        self._gs_turn = turns.run_plain_turn
        #: Bytes of a turn's first read: few, until a client has said more at once.
        self._gs_first_read = SMALL_READ_SIZE
        self._gs_lingering_turn = lingering_turns.run_lingering_turn
        #: The listener that `_gs_prepare_listener` has looked at.
        self._gs_known_listener: Any = None
        #: What makes a request that suits where handlers run: what `_gs_request_class` said last.
        self._gs_accepted_class: Callable[..., OriginalSocket] = self._gs_request_class()
        #: How many clients each network has, where that is limited.
        self._gs_networks: Networks | None = None
        #: Clients left over from a run of serve_forever that has ended.
        self._gs_suspended: list[Client] = []
        #: Whether server_close() was called: then nobody is parked any more.
        self._gs_is_closed = False
        self._gs_is_paused = False
        #: Whether newcomers are looked at before they are let in.
        self._gs_checks_newcomers = False

    def _gs_resume(self, serving: Serving) -> None:
        """Take back the clients that an earlier run of `serve_forever` left.

        Not those who are busy: where their turn runs may be another thread, and the lot is this
        one's. They come back by `_gs_come_back`.
        """
        self._gs_greenlet = getcurrent()
        self._gs_has_context = self._gs_greenlet.gr_context is not None
        serving.lot.contexts = self._gs_contexts
        clients, self._gs_suspended = self._gs_left_over(), []
        for client in clients:
            if client.state is WHOLE:
                serving.ready.append(client)
                serving.sleeper.ring()
            elif client.state is PARKED:
                serving.lot.admit(client)
                if client.request.unread:
                    client.state = BUSY
                    serving.lot.make_ready(client)
                else:
                    serving.lot.park(client)
            else:
                self._gs_suspended.append(client)

    def _gs_suspend(self, serving: Serving) -> None:
        """Keep the clients for the next run of `serve_forever`, or for `server_close`."""
        if self._gs_farewells is not None:
            self._gs_farewells.close()
        self._gs_serving = None
        self._gs_checks_newcomers = False
        serving.lot.hand_over_now()
        for client in serving.ready:
            if serving.lot.holds(client):
                client.state = PARKED
        waiting = [client for client in serving.ready if client.state is WHOLE]
        for client, outcome, _ in serving.returned:
            if client.state is WHOLE:
                self._gs_end_whole(client.request, client.address)
            else:
                client.state = BUSY if outcome is turns.END else PARKED
        self._gs_suspended += serving.lot.suspend() + waiting
        for client in self._gs_contexts.keys() - self._gs_suspended:
            del self._gs_contexts[client]

    def _gs_has_room(self) -> bool:
        """Whether another turn may begin."""
        return True

    def _gs_note_waiting(self, waiting: bool) -> None:
        """Told whether clients wait because there is no room."""

    def _gs_ready_queue(self, serving: Serving) -> ReadyQueue:
        """Where the lot puts ready clients.

        Here the serving greenlet begins their turns, all that became ready together in one go.
        """
        sleeper = serving.sleeper
        return ReadyQueue(serving.ready, sleeper.ring_after_events, sleeper.ring)

    def _gs_begin_turn(self, client: Client) -> None:
        """In the serving greenlet: run a turn, or start it elsewhere."""
        me, contexts = self._gs_greenlet, self._gs_contexts
        if contexts or self._gs_has_context:
            outcome = client_contexts.run_apart(
                contexts, client, functools.partial(turns.serve_turn, self, client, self._gs_turn)
            )
        else:
            # As that does, where there is nothing yet to be kept apart.
            outcome = turns.serve_turn(self, client, self._gs_turn)
            if me.gr_context is not None:
                contexts.keep(client, me.gr_context)
                me.gr_context = None
        if self._gs_serving is not None:
            self._gs_serving.settle(client, outcome)

    def _gs_wants_turn(self, client: Client) -> bool:
        """Whether there is something to do elsewhere for a client who became ready."""
        return whole_requests.may_begin(self, client) and turns.wants_turn(client)

    def _gs_have_no_worker(self, client: Client) -> None:
        """In an `except` clause: the system has no thread or process for a turn of `client`.

        It waits, as for a bound of the server's own, or is closed if newcomers are rejected. Where
        nobody serves who could try again, only this client is lost.
        """
        serving = self._gs_serving
        if serving is not None and self._gs_limits.overflow != "reject":
            serving.postpone(client)
            return
        was_whole = client.state is WHOLE
        if serving is not None and client.handler is None:
            if not was_whole:
                serving.lot.discard(client)
            serving.door.turn_away(client.request, client.address)
        else:
            if serving is None:
                self.handle_error(client.request, client.address)
            client.state = ENDING
            turns.serve_turn_of_many(self, client)
            if serving is not None:
                serving.settle(client, turns.END)
        if serving is not None:
            serving.note_no_workers()
        if was_whole:
            self._gs_end_whole(client.request, client.address)

    def _gs_release(self, client: Client) -> None:
        """Where a turn ran: the client's request is about to be closed."""
        lot = client.lot
        if lot is not None:
            lot.discard(client)
        elif self._gs_suspended and client in self._gs_suspended:
            self._gs_come_back(client, turns.END)

    def _gs_admit(self, request: Any, client_address: Any) -> Client | None:
        """Take a request into the lot's care if its clients can be parked; None if they cannot."""
        serving = self._gs_serving
        if serving is None:
            return None
        shape = self._gs_shape()
        if not (shape.parks and is_request_socket(request)):
            return None
        if serving.offered is request:
            # As `_gs_take`, without its call.
            serving.offered = None
        else:
            self._gs_take(request)
        client = Client(request, client_address)
        serving.lot.admit(client)
        if shape.waits_for_data:
            if shape.timeout is not None:
                # As its setup() will; until then there is no handler to do so.
                request.settimeout(shape.timeout)
            if not whole_requests.has_spoken(self, client, shape):
                serving.lot.park(client)
                return client
        serving.lot.make_ready(client)
        return client

    def _gs_note_silence(self, client: Client) -> None:
        """Count a client who said nothing between two turns for as long as its timeout."""
        idle, own = self._gs_limits.idle_timeout, client.request.timeout
        kind = "handler" if idle is None or (own is not None and own < idle) else "idle"
        self._gs_counters.add_timeout(kind)
        _log.debug("%r said nothing for its timeout (%s)", client.address, kind)

    def _gs_let_in(self, request: Any, client_address: Any) -> bool:
        """Look at a newcomer; False if it was turned away."""
        serving = self._gs_serving
        if serving is not None and serving.observes:
            self._gs_tell("new", request, client_address)
        if serving is not None and not serving.door.lets_in(request, client_address):
            serving.door.turn_away(request, client_address)
            if serving.observes:
                self._gs_tell("closed", request, client_address)
            return False
        if self._gs_limits.idle_timeout is not None:
            request.settimeout(self._gs_limits.idle_timeout)
        return True

    def _gs_reject_one(self, at_once: bool = False) -> AcceptError | None:
        """Accept a client for whom there is no room, and turn it away."""
        got = self._gs_next_request()
        if isinstance(got, AcceptError):
            return got
        self._gs_counters.accepted += 1
        if self._gs_serving is not None:
            self._gs_serving.door.turn_away(*got, at_once)
        return None

    def _gs_is_worker(self) -> bool:
        """Whether the caller is what a turn of this server runs in."""
        return False

    def _gs_hurry_lingering(self, drained_at: float) -> None:
        """Have threads and children that wait for their client's next request wait no longer."""

    def _gs_at_work(self) -> Iterator[AtWork]:
        """The handlers that run just now: here the one in the serving greenlet.

        One after the other: the caller may let the hub turn in between.
        """
        if self._gs_serving is None:
            return
        found = whereabouts.find(self._gs_serving.sleeper.frame())
        if found.handler is not None:
            request, address = found.handler.request, found.handler.client_address
            yield AtWork(address, request, found.line, lambda: hang_up(request))

    def _gs_join_workers(self, timeout: float) -> bool:
        """Wait until no handler runs, for `timeout` seconds at most; return whether that is so."""
        return True

    def pause(self) -> None:
        """Accept nobody until `resume()`: who connects waits in the kernel's queue.

        From anywhere; also before `serve_forever`. The clients that are there are served on.
        """
        self._gs_is_paused = True
        self._gs_on_serving_greenlet(self._gs_read_settings)

    def resume(self) -> None:
        """Accept again, after `pause()`."""
        self._gs_is_paused = False
        self._gs_on_serving_greenlet(self._gs_read_settings)

    def _gs_settings_changed(self) -> None:
        """A limit was set: have it hold from now on, in whatever thread that was."""
        serving = getattr(self, "_gs_serving", None)
        if serving is not None:
            serving.do_soon(serving.read_settings)

    def _gs_read_settings(self) -> None:
        if self._gs_serving is not None:
            self._gs_serving.read_settings()

    def _gs_handler_of(self, client: Client) -> Any:
        """The handler of a client who is about to be told that the server drains, if any."""
        return client.handler

    def _gs_close_clients(self) -> None:
        """Close every client that is parked, through its handler's finish()."""
        self._gs_is_closed = True
        if self._gs_serving is None:
            clients, self._gs_suspended = self._gs_suspended, []
        else:
            self._gs_serving.take_back()
            clients = list(self._gs_serving.lot.clients.values())
        # Each, whatever comes up at one of them; what is for the caller is raised at the end.
        with contextlib.ExitStack() as stack:
            for client in reversed(clients):
                stack.callback(self._gs_close_left, client)

    def _gs_close_left(self, client: Client) -> None:
        if client.state is PARKED:
            self._gs_close_client(client)
        elif client.state is WHOLE:
            endings.close_beside(self, client.request, client.address)
            self._gs_end_whole(client.request, client.address)
        elif self._gs_serving is None:
            self._gs_suspended.append(client)

    def _gs_close_unparked(self, client: Client, silent_since: float) -> None:
        """Close a client whose turn is over and who would be parked if the server were open.

        Who was `silent_since` before a drain began had been waited for, in a thread or child, as
        the lot waits for others, and is closed as they are.
        """
        drain = self._gs_drain
        if drain is None:
            self._gs_close_client(client)
        elif 0.0 < silent_since < drain.begun:
            drain.close_idle(client)
        else:
            drain.close_busy(client)

    def _gs_close_client(self, client: Client) -> None:
        client_contexts.run_apart(
            self._gs_contexts, client, functools.partial(self._gs_end_client, client)
        )

    def _gs_end_client(self, client: Client) -> None:
        if self._gs_serving is not None:
            self._gs_serving.lot.discard(client)
        elif self._gs_observes():
            self._gs_tell("closed", client.request, client.address)
        client.state = ENDING
        turns.serve_turn_of_many(self, client)

    def _gs_on_serving_greenlet(self, errand: Callable[[], Any]) -> None:
        """Have `errand` called where the lot may be touched, and wait until it was."""
        serving = self._gs_serving
        done = Latch()

        def run() -> None:
            try:
                errand()
            finally:
                done.set()

        if serving is None or serving.sleeper.in_this_thread() or not serving.do_soon(run):
            errand()
        else:
            done.wait()
