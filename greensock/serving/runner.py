"""Where the turns of a server's clients run: the seam between a server and its mixin."""

from __future__ import annotations

import contextlib
import functools
import socket
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from greensock.handlers import whereabouts
from greensock.hub.lifetime import threads_are_greenlets
from greensock.hub.workers.demand import Demand
from greensock.lot import contexts as client_contexts
from greensock.lot.client import DEDICATED, ENDING, Client
from greensock.lot.outcomes import END, Turn
from greensock.lot.ready import ReadyQueue
from greensock.sockets.cooperative import CooperativeSocket
from greensock.sockets.lingering import LingeringSocket
from greensock.sockets.requests import OriginalSocket

if TYPE_CHECKING:
    from greensock.serving.run import Run
    from greensock.serving.service import Service

#: What is called with a datagram's request, its sender's address and the server, and handles it or
#: has it handled.
Beginner = Callable[[Any, Any, Any], object]


class AtWork(NamedTuple):
    """A handler at work: whose, where it is, and how to end it from anywhere."""

    client_address: Any
    request: Any
    where: str
    cut: Callable[[], Any]


def hang_up(request: Any) -> None:
    """End a connection under whoever reads or writes it; what the kernel has goes out still."""
    with contextlib.suppress(OSError, AttributeError):
        request.shutdown(socket.SHUT_RDWR)


class Runner:
    """Runs turns: this one, one after the other in the serving greenlet.

    A mixin names another one for its servers, as `_greensock_runner`. Each server makes one of its
    own, for its life. Unless it says otherwise, a method is called in the serving greenlet.

    Args:
        service: of the server whose turns are run.
    """

    #: Whether turns run elsewhere, so that the hook `process_request` is soon over.
    hands_over = False
    #: Whether nothing but the client's connection comes back from where a turn runs.
    in_children = False
    #: Whether what a turn has received and not read is there for the next.
    keeps_unread = True
    #: What turns run in, of which the system may have none left.
    resource = ""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.server = service.server

    def runs_on_hub(self) -> bool:
        """Whether handlers run in greenlets, and so need cooperative requests."""
        return True

    def request_class(self) -> type[OriginalSocket]:
        """The class of the requests that suit where handlers run."""
        return CooperativeSocket

    def wants_service(self) -> bool:
        """Whether the program has a `service_actions` of its own."""
        return type(self.server).service_actions is not self.service.defaults.service_actions

    def attach(self, run: Run) -> None:
        """A run of `serve_forever` begins; no client has come yet."""

    def detach(self) -> None:
        """It has ended; the clients wait for the next."""

    def ready_queue(self, run: Run) -> ReadyQueue:
        """Where the lot puts clients who are ready.

        Here the serving greenlet begins their turns, all that became ready together in one go.
        """
        sleeper = run.sleeper
        return ReadyQueue(run.ready, sleeper.ring_after_events, sleeper.ring)

    def has_room(self) -> bool:
        """Whether another turn may begin."""
        return True

    def note_waiting(self, waiting: bool) -> None:
        """Told whether clients wait because there is no room."""

    def process(self, request: Any, client_address: Any) -> None:
        """What the hook `process_request` does: park the client, or have it handled.

        Also where nobody serves, in any thread.
        """
        self.service.serve_here(request, client_address)

    def begin(self, client: Client) -> None:
        """Run a turn, or start it elsewhere."""
        service = self.service
        me, contexts, turns = service.greenlet, service.contexts, service.turns
        if contexts or service.has_context:
            outcome = client_contexts.run_apart(
                contexts, client, functools.partial(turns.serve, client)
            )
        else:
            # As that does, where there is nothing yet to be kept apart.
            outcome = turns.serve(client)
            if me.gr_context is not None:
                contexts.keep(client, me.gr_context)
                me.gr_context = None
        if service.run is not None:
            service.run.settle(client, outcome)

    def quick_beginner(self, standard: Callable[..., Any]) -> Beginner | None:
        """What begins the handler of each datagram of a batch; None if only the hooks do.

        Asked where the hooks are the standard ones but, maybe, for `process_request`.

        Args:
            standard: that hook as it is without a mixin.
        """
        if type(self.server).process_request is not standard:
            return None
        return self.service.quick_runner()

    def is_worker(self) -> bool:
        """Whether the caller is what a turn runs in; in any thread."""
        return False

    def at_work(self) -> Iterator[AtWork]:
        """The handlers that run just now: here the one in the serving greenlet.

        One after the other: the caller may let the hub turn in between.
        """
        run = self.service.run
        if run is None:
            return
        found = whereabouts.find(run.sleeper.frame())
        if found.handler is not None:
            request, address = found.handler.request, found.handler.client_address
            yield AtWork(address, request, found.line, lambda: hang_up(request))

    def hurry(self, drained_at: float) -> None:
        """Have threads and children that wait for their client's next request wait no longer."""

    def join(self, timeout: float) -> bool:
        """Wait until no handler runs, for `timeout` seconds at most; return whether that is so."""
        return True

    def release(self, client: Client) -> None:
        """Where a turn ran: the client's request is about to be closed."""
        service = self.service
        if client.lot is not None:
            client.lot.discard(client)
        else:
            service.end_left_over(client)

    def handler_of(self, client: Client) -> Any:
        """The handler of a parked client who is to be told that the server drains, if any."""
        return client.handler

    def close_client(self, client: Client) -> None:
        """Close a client who is parked, or was going to be."""
        self.service.end_client(client)

    def leave_hub(self, hub_ends: bool) -> None:
        """After a run, in its greenlet: see to the greenlets of a hub that is about to end."""

    def renew(self, lives_on: bool) -> Any:
        """In a child of the program's: forget what is the parent's, and return it, to be kept.

        Args:
            lives_on: whether the serving greenlet has forked, and serves on here.
        """
        return None

    def stay_behind(self) -> list[Any]:
        """In a child of the program's, before `renew`: leave what is queued here to the parent.

        Its requests are returned, or whatever else it was.
        """
        return []


class BlockingRunner(Runner):
    """Runs turns where they may block for their client: in threads, in children."""

    hands_over = True

    def __init__(self, service: Service) -> None:
        super().__init__(service)
        #: What tells those who wait for a silent client that others wait for their place.
        self.demand: Demand | None = None

    def runs_on_hub(self) -> bool:
        """Whether what is a thread for the program is a greenlet."""
        return threads_are_greenlets()

    def request_class(self) -> type[OriginalSocket]:
        """Sockets that block their thread, and wait for a silent client for a while."""
        if self.runs_on_hub():
            return CooperativeSocket
        needs_more = self.service.current_traits().needs_request_socket
        return LingeringSocket if needs_more else OriginalSocket

    def quick_beginner(self, standard: Callable[..., Any]) -> Beginner | None:
        """None: a batch would begin them no faster."""
        return None

    def process(self, request: Any, client_address: Any) -> None:
        """What the hook `process_request` does: park the client, or start its handler."""
        service = self.service
        if service.admit(request, client_address) is not None:
            return
        client = Client(request, client_address)
        client.dedicate()
        service.clients.begin_dedicated(request, client_address)
        if service.run is None:
            while not self.has_room():
                self.wait_for_room()
        elif not self.has_room():
            service.run.ready.append(client)
            return
        self.start(client)

    def begin(self, client: Client) -> None:
        """Start a turn elsewhere, if there is something to do in it."""
        service, run = self.service, self.service.run
        if run is None or not run.lot.holds(client):
            self.start(client)
            return
        turns = service.turns
        traits = turns.current_traits()
        unprompted = client.handler is None and not traits.waits_for_data
        if not unprompted and not (turns.receive_request(client) and turns.look(client)):
            run.lot.park(client)
        elif client.state is ENDING and self.ends_here(client):
            run.lot.discard(client)
            service.turns.end(client)
        else:
            self.prepare(client, unprompted)
            self.start(client)

    def prepare(self, client: Client, unprompted: bool) -> None:
        """A turn of a client in the lot is about to be started.

        Args:
            unprompted: whether its handler begins before it has said anything.
        """

    def ends_here(self, client: Client) -> bool:
        """Whether the end of a parked client runs no code of its handler's class."""
        raise NotImplementedError

    def wait_for_room(self) -> None:
        """Where nobody serves: wait until a turn has ended."""
        raise NotImplementedError

    def start(self, client: Client) -> None:
        """Start a thread or child for a turn, or for a whole request."""
        raise NotImplementedError

    def run(self, turn: Turn) -> None:
        """Where it runs: run a turn, or a whole request, and note in `turn` how it ended.

        Raises:
            BaseException: what the handler raised that is no Exception; its client is ended too.
        """
        service, client = self.service, turn.client
        if client.state is DEDICATED:
            service.endings.serve_dedicated(client.request, client.address)
        elif self.runs_on_hub():
            turn.outcome = service.turns.serve(client)
        else:
            lingering = functools.partial(
                service.turns.run_lingering,
                linger=service.limits.linger,
                demand=self.demand,
                turn=turn,
            )
            turn.outcome = service.turns.serve(client, lingering)

    def hand_back(self, turn: Turn) -> None:
        """In any thread: the turn is over, and its client is the serving greenlet's again."""
        client, outcome = turn.client, turn.outcome
        service, run = self.service, self.service.run
        if run is None and client.state is DEDICATED:
            service.clients.count_out()
        elif run is None and service.is_closed and outcome is not END:
            # Nobody comes for it any more.
            self.close_client(client)
        elif run is None:
            service.clients.come_back(client, outcome)
        elif outcome is END and not run.ready:
            # The lot told of it once, and its request is closed: nothing is left to do, for which
            # waking the serving greenlet would cost each short connection a write and a turn of
            # the loop. Who finds no room from now on looks again before it waits.
            if client.state is DEDICATED:
                service.clients.count_out()
            else:
                run.lot.forget(client)
            if run.lot.on_gone is not None:
                run.do_soon(functools.partial(run.lot.on_gone, client.request, client.address))
        else:
            run.returned.append((client, outcome, turn.silent_since))
            run.sleeper.ring_soon()

    def note_waiting(self, waiting: bool) -> None:
        """Have whoever waits for a silent client leave it, or not."""
        if self.demand is not None:
            self.demand.set_waiting(waiting or self.server.draining)

    def hurry(self, drained_at: float) -> None:
        """Have threads and children that wait for their client's next request wait no longer."""
        self.note_waiting(True)

    def release(self, client: Client) -> None:
        """Nothing here: the client is handed back to the serving greenlet, whose the lot is."""

    def close(self) -> None:
        """The server is closed: let go of what its threads or children share with it."""
        if self.demand is not None:
            self.demand.close()
            self.demand = None
