"""ForkingMixIn: each turn in a child process, and no child for a parked client."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from time import monotonic
from typing import TYPE_CHECKING, Any

from greensock.handlers.making import Absent
from greensock.hub.workers import children
from greensock.hub.workers.children import ChildWatch
from greensock.hub.workers.demand import Demand, Vacancies
from greensock.hub.workers.kept_children import KeptChild, make_room, withdraw
from greensock.hub.workers.marks import Marks
from greensock.lot.client import ENDING, Client
from greensock.lot.descriptors import ClientDescriptors
from greensock.lot.outcomes import END, PARK
from greensock.mixins import child_work
from greensock.mixins.child_turns import PARKS, ChildTurn, killer
from greensock.servers.base import BaseServer
from greensock.serving.run import Run
from greensock.serving.runner import AtWork, BlockingRunner, Runner, hang_up
from greensock.serving.service import Service
from greensock.settings.unmixed import Unmixed

if TYPE_CHECKING:
    _Base = BaseServer
else:
    _Base = Unmixed


class ForkRunner(BlockingRunner):
    """Runs each turn in a child."""

    in_children = True
    keeps_unread = False
    resource = "processes"
    server: ForkingMixIn

    def __init__(self, service: Service) -> None:
        super().__init__(service)
        #: The turns that run in children, by pid.
        self.turns: dict[int, ChildTurn] = {}
        self._marks: Marks | None = None
        self._vacancies: Vacancies | None = None
        self._makes_room = False

    def wants_service(self) -> bool:
        """Whether the program has a `service_actions` of its own."""
        return type(self.server).service_actions is not ForkingMixIn.service_actions

    def attach(self, run: Run) -> None:
        """Have the children that an earlier run has left watched by this one's hub."""
        if run.lot.descriptors is None:
            run.lot.descriptors = ClientDescriptors()
        for pid, turn in self.turns.items():
            turn.watch = ChildWatch(pid, self._child_exited)

    def detach(self) -> None:
        """Nobody watches the children any more."""
        for turn in self.turns.values():
            turn.unwatch()

    def hurry(self, drained_at: float) -> None:
        """Have children that wait for their client's next request wait no longer."""
        super().hurry(drained_at)
        self._dismiss_silent(drained_at)

    def kept_children(self) -> list[KeptChild]:
        """Those that keep their client between its turns."""
        return [turn.keeps for turn in self.turns.values() if turn.keeps is not None]

    def _dismiss_silent(self, drained_at: float = 0.0) -> None:
        """Have each child that keeps its client end once the client is silent."""
        for child in self.kept_children():
            child.dismiss(drained_at)

    def at_work(self) -> Iterator[AtWork]:
        """The children, and what kills them."""
        for pid, turn in list(self.turns.items()):
            yield self._describe(pid, turn)

    def _describe(self, pid: int, turn: ChildTurn) -> AtWork:
        client, kill = turn.client, killer(pid)

        def cut() -> None:
            kill()
            # Here it may be open still, and nobody serves who would hear of the child's end.
            hang_up(client.request)

        return AtWork(client.address, client.request, f"child {pid}", cut)

    def join(self, timeout: float) -> bool:
        """Wait until there is no child."""
        server = self.server
        deadline = monotonic() + timeout
        server.collect_children()
        while server.active_children and monotonic() < deadline:
            children.wait_for_any(list(server.active_children), deadline - monotonic())
            server.collect_children()
        return not server.active_children

    def collect(self, blocking: bool) -> None:
        """What `collect_children()` does, in the serving greenlet if there is one."""
        for pid in list(self.server.active_children or ()):
            if blocking:
                children.wait_for_exit(pid)
                self._child_gone(pid)
            elif children.has_exited(pid):
                self._child_gone(pid)

    def has_room(self) -> bool:
        """Whether fewer children run than may."""
        most = self.service.limits.max_children or sys.maxsize
        return len(self.server.active_children or ()) < most

    def wait_for_room(self) -> None:
        """Wait until a child has ended."""
        children.wait_for_any(list(self.server.active_children or ()))
        self.server.collect_children()

    def note_waiting(self, waiting: bool) -> None:
        """Have children that wait for a silent client leave it, or end with it."""
        super().note_waiting(waiting)
        if self._vacancies is None:
            return
        run = self.service.run
        if waiting and run is not None and self.service.limits.overflow == "evict":
            make_room(self.kept_children(), self._vacancies, len(run.ready))
            self._makes_room = True
        elif self._makes_room:
            withdraw(self._vacancies)
            self._makes_room = False

    def prepare(self, client: Client, unprompted: bool) -> None:
        """Take the client out of the lot if a child will have all of it."""
        traits = self.service.turns.traits
        if client.state is not ENDING and not traits.request_wise:
            self._take_out_of_lot(client)
        elif client.state is not ENDING and unprompted and traits.timeout is not None:
            # As the child's setup() will, of which nothing comes back.
            client.request.settimeout(traits.timeout)

    def _take_out_of_lot(self, client: Client) -> None:
        """From now on a child alone has the client."""
        self.service.counters.begin_dedicated()
        self.service.lot.let_go(client)
        client.dedicate()

    def ends_here(self, client: Client) -> bool:
        """Whether the end of a client, whose handler is in no process, needs none."""
        return client.handler is None or (
            self.service.turns.traits.finishes_plainly and not client.handler.says_goodbye
        )

    def handler_of(self, client: Client) -> Any:
        """A handler for a client who has none in this process, if it may be made here."""
        if type(client.handler) is Absent:
            service = self.service
            traits = service.current_traits()
            makes_it = type(self.server).finish_request is BaseServer.finish_request
            if not (makes_it and traits.made_plainly and traits.finishes_plainly):
                client.handler = Absent(traits.cls, says_goodbye=True)
                return None
            client.handler = None
            service.turns.open_handler(client)
        return client.handler

    def close_client(self, client: Client) -> None:
        """Close a client, in a child if its end is code of the program."""
        if type(client.handler) is not Absent or self.ends_here(client):
            super().close_client(client)
            return
        self._take_out_of_lot(client)
        client.end_soon()
        while not self.has_room():
            children.wait_for_any(list(self.server.active_children or ()))
            self.collect(False)
        self.start(client)

    def _new_turn(self, client: Client) -> ChildTurn:
        """All that a child shares with its parent, which is made before the fork."""
        service, run = self.service, self.service.run
        if self.demand is None and service.limits.max_children is not None:
            self.demand = Demand()
        if self._marks is None:
            self._marks = Marks()
        returns = run is not None and run.lot.holds(client)
        turn = ChildTurn(client, client.handler is None, returns, self._marks.acquire())
        if client.state is not ENDING and service.transport.keeps_child(client):
            try:
                if self._vacancies is None:
                    self._vacancies = Vacancies()
                turn.keeps = KeptChild(turn.mark, self._vacancies)
            except OSError:
                turn.mark.release()
                raise
        return turn

    def start(self, client: Client) -> None:
        """Fork a child for a turn, or for a whole request."""
        service, server = self.service, self.server
        try:
            turn = self._new_turn(client)
        except OSError:
            service.have_no_worker(client)
            return
        try:
            pid = children.fork()
        except OSError:
            turn.close()
            turn.mark.release()
            service.have_no_worker(client)
            return
        if pid == 0:
            child_work.become_child(service, turn, self.run_child_turn)
        if server.active_children is None:
            server.active_children = set()
        server.active_children.add(pid)
        self.turns[pid] = turn
        if turn.returns:
            # The child has it, and would have it again.
            client.request.forget_unread()
            client.handler = service.turns.traits.absent
        if service.run is not None:
            turn.watch = ChildWatch(pid, self._child_exited)
            service.run.worker_started()
        if not turn.returns:
            service.endings.let_go(client)

    def run_child_turn(self, turn: ChildTurn) -> int:
        """In the child: run the turn; return the exit status."""
        return child_work.run_turn(self.service, turn, self.demand)

    def _child_exited(self, pid: int) -> None:
        """In the hub: a child is gone."""
        if self.service.run is not None:
            self.service.run.do_now(functools.partial(self._child_gone, pid))

    def _child_gone(self, pid: int) -> None:
        """In the serving greenlet: reap a child, and park its client or close it."""
        service = self.service
        children.has_exited(pid)
        if self.server.active_children is not None:
            self.server.active_children.discard(pid)
        turn = self.turns.pop(pid, None)
        if turn is None:
            return
        turn.close()
        left, received, sent, silent_since, evicted = turn.mark.read()
        turn.mark.release()
        parks = bool(left & PARKS)
        service.counters.add_child(left & ~PARKS)
        service.counters.add_bytes(received, sent)
        service.counters.evicted += evicted
        client = turn.client
        if not turn.returns:
            if service.lifecycle.drain is not None:
                service.lifecycle.drain.note_child(silent_since)
            service.clients.end_dedicated(client.request, client.address)
            return
        if service.run is not None:
            service.run.settle(client, PARK if parks else END, silent_since)
        elif parks:
            service.clients.come_back(client, PARK)
        else:
            service.clients.come_back(client, END)
        if not parks:
            # The handler has finished, in the child: here it only goes.
            client.handler = None
            client.request.disown_files()
            service.endings.let_go(client)

    def close_all(self) -> None:
        """What `server_close()` does at last: wait for the children, if it does that."""
        server, service = self.server, self.service
        service.on_serving_greenlet(self._dismiss_silent)
        collect = functools.partial(server.collect_children, blocking=self.blocks_on_close())
        service.on_serving_greenlet(collect)
        service.on_serving_greenlet(service.close_clients)
        # The end of those may be in children too.
        service.on_serving_greenlet(collect)
        children.leave(server.active_children or ())
        self.close()
        if self._vacancies is not None and not server.active_children:
            self._vacancies.close()
            self._vacancies = None

    def blocks_on_close(self) -> bool:
        """Whether the end of the server waits for the children."""
        return self.server.block_on_close

    def renew(self, lives_on: bool) -> Any:
        """In a child of the program's: the children are the parent's."""
        left = (self.turns, self._marks, self._vacancies, self.demand)
        self.turns, self._marks, self._vacancies, self.demand = {}, None, None, None
        return left, vars(self.server).pop("active_children", None)


class ForkingMixIn(_Base):
    """Mix-in class to handle each request in a child process; a parked client has none.

    Class variables:

    - `max_children`: how many children may run at once; further clients wait, and other greenlets
      run meanwhile. None: no limit. 40.
    - `block_on_close`: whether `server_close()` waits for the children. True. If not, they run on,
      and are reaped when any server of the process forks again.
    - `timeout`: seconds after which `handle_request` looks for children that have ended. 300.
    - `linger`: seconds for which a child that has answered a client waits for that client's next
      request before it leaves the client to the lot and ends. 0: not at all. A client who never
      pauses keeps its child.

    Instance variable: `active_children`, pids of children not yet waited for; None before any.

    What a handler changes stays in its child: nothing of a handler runs in the parent. A child runs
    its handler and nothing else of its parent: the other greenlets do not exist there, every
    greensock server of the process has its listener and its other clients closed, and it ends with
    `os._exit`.

    A request-wise handler whose constructor and `setup()` are the standard ones is made anew in
    each child, which calls `finish_request` for that; so is one that says `parkable = True`. What
    it keeps on itself is gone with the child. Its `finish()`, if it is its own, runs once a client,
    in a child that makes the handler for that. Any other keeps its child, from its constructor to
    its `finish()`, for as long as its client stays; such a child waits between two requests as the
    lot does, and is sent away while its client is silent by a drain, by `server_close()`, by
    `idle_timeout`, and by `overflow = "evict"` where others wait.

    Differs from socketserver: children are waited for one by one, so that no child of another part
    of the program is taken from it; and `max_children` never blocks other greenlets. Of a handler
    that may be made anew, each turn has a child, not each client.
    """

    timeout: float | None = 300
    active_children: set[int] | None = None
    max_children: int | None = 40
    block_on_close = True
    # A child costs 1.7 ms to fork and reap: a client who asks again within this time is better
    # served by the child it has.
    linger = 0.2

    _greensock_runner: Callable[[Service], Runner] = ForkRunner

    def collect_children(self, *, blocking: bool = False) -> None:
        """Reap the children that have ended; with `blocking`, wait for all of them.

        From any thread; while the server serves, it is its thread that does so.
        """
        # The children's watchers are that thread's loop's: closed here, they crashed it.
        collect = functools.partial(runner_of(self).collect, blocking)
        self._greensock.on_serving_greenlet(collect)

    def handle_timeout(self) -> None:
        """Reap the children that have ended; may be extended."""
        self.collect_children()

    def service_actions(self) -> None:
        """Reap the children that have ended; may be extended."""
        self.collect_children()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Fork a child for the request, or park its client."""
        self._greensock.runner.process(request, client_address)

    def server_close(self) -> None:
        """Close as the server does, then wait for the children if `block_on_close`."""
        super().server_close()
        runner_of(self).close_all()


def runner_of(server: ForkingMixIn) -> ForkRunner:
    """What runs the turns of a server of this mixin's."""
    runner = server._greensock.runner
    assert isinstance(runner, ForkRunner)
    return runner
