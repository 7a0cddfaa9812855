"""ForkingMixIn: each turn in a child process, and no child for a parked client."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Iterator
from time import monotonic
from typing import TYPE_CHECKING, Any, NoReturn

from greensock import endings, forks_of_programs, turns
from greensock.base_server import BaseServer
from greensock.draining import AtWork
from greensock.handler_shape import ends_plainly
from greensock.hub import children
from greensock.hub.children import ChildWatch
from greensock.hub.client_descriptors import ClientDescriptors
from greensock.hub.crowd import Crowd, Vacancies
from greensock.hub.kept_children import KeptChild, make_room, withdraw
from greensock.hub.lifetime import threads_are_greenlets
from greensock.hub.lot import BUSY, ENDING, OPENING, PARKED, WHOLE, Client
from greensock.hub.marks import Marks
from greensock.mixins.child_turns import PARKS, ChildTurn, killer
from greensock.net import listening
from greensock.net.cooperative_sockets import CooperativeSocket
from greensock.net.lingering_sockets import LingeringSocket
from greensock.net.request_sockets import OriginalSocket
from greensock.serving import Serving
from greensock.turns import Outcome
from greensock.unmixed import Unmixed

if TYPE_CHECKING:
    _Base = BaseServer
else:
    _Base = Unmixed


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

    What a handler changes stays in its child. A child runs its handler and nothing else of its
    parent: the other greenlets do not exist there, the listener and the other clients are closed,
    and it ends with `os._exit`.

    Differs from socketserver: children are waited for one by one, so that no child of another part
    of the program is taken from it; and `max_children` never blocks other greenlets. Of a
    request-wise handler, each turn has a child, not each client; its constructor and `setup()` run
    in the parent, once a client.
    """

    timeout: float | None = 300
    active_children: set[int] | None = None
    max_children: int | None = 40
    block_on_close = True
    # A child costs 1.7 ms to fork and reap: a client who asks again within this time is better
    # served by the child it has.
    linger = 0.2

    _hands_over = True
    _of_process = ("active_children", "_child_turns", "_crowd", "_marks", "_vacancies")
    _shares_unread = False
    _workers = "processes"
    _accept_some = BaseServer._accept_one
    _child_turns: dict[int, ChildTurn] | None = None
    _crowd: Crowd | None = None
    _marks: Marks | None = None
    _vacancies: Vacancies | None = None
    _makes_room = False

    def collect_children(self, *, blocking: bool = False) -> None:
        """Reap the children that have ended; with `blocking`, wait for all of them.

        From any thread; while the server serves, it is its thread that does so.
        """
        # The children's watchers are that thread's loop's: closed here, they crashed it.
        self._on_serving_greenlet(functools.partial(self._collect, blocking))

    def _collect(self, blocking: bool) -> None:
        for pid in list(self.active_children or ()):
            if blocking:
                children.wait_for_exit(pid)
                self._child_gone(pid)
            elif children.has_exited(pid):
                self._child_gone(pid)

    def handle_timeout(self) -> None:
        """Reap the children that have ended; may be extended."""
        self.collect_children()

    def service_actions(self) -> None:
        """Reap the children that have ended; may be extended."""
        self.collect_children()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Fork a child for the request, or park its client."""
        if self._admit(request, client_address) is not None:
            return
        client = Client(request, client_address)
        client.state = WHOLE
        self._begin_whole(request, client_address)
        if self._serving is None:
            while not self._has_room():
                children.wait_for_any(list(self.active_children or ()))
                self.collect_children()
        elif not self._has_room():
            self._serving.ready.append(client)
            return
        self._fork(client)

    def server_close(self) -> None:
        """Close as the server does, then wait for the children if `block_on_close`."""
        super().server_close()
        self._on_serving_greenlet(self._dismiss_silent)
        collect = functools.partial(self.collect_children, blocking=self._blocks_on_close())
        self._on_serving_greenlet(collect)
        self._on_serving_greenlet(self._close_clients)
        children.leave(self.active_children or ())
        if self._crowd is not None:
            self._crowd.close()
            self._crowd = None
        if self._vacancies is not None and not self.active_children:
            self._vacancies.close()
            self._vacancies = None

    def _blocks_on_close(self) -> bool:
        return self.block_on_close

    def _wants_service(self) -> bool:
        return type(self).service_actions is not ForkingMixIn.service_actions

    def _keeps_child(self) -> bool:
        return True

    def _runs_on_hub(self) -> bool:
        return threads_are_greenlets()

    def _request_class(self) -> type[OriginalSocket]:
        if self._runs_on_hub():
            return CooperativeSocket
        return LingeringSocket if self._shape().needs_request_socket else OriginalSocket

    def _hurry_lingering(self, drained_at: float) -> None:
        self._note_waiting(True)
        self._dismiss_silent(drained_at)

    def _kept_children(self) -> list[KeptChild]:
        turns = (self._child_turns or {}).values()
        return [turn.keeps for turn in turns if turn.keeps is not None]

    def _dismiss_silent(self, drained_at: float = 0.0) -> None:
        """Have each child that keeps its client end once the client is silent."""
        for child in self._kept_children():
            child.dismiss(drained_at)

    def _at_work(self) -> Iterator[AtWork]:
        for pid, turn in list((self._child_turns or {}).items()):
            client = turn.client
            yield AtWork(client.address, client.request, f"child {pid}", killer(pid))

    def _join_workers(self, timeout: float) -> bool:
        deadline = monotonic() + timeout
        self.collect_children()
        while self.active_children and monotonic() < deadline:
            children.wait_for_any(list(self.active_children), deadline - monotonic())
            self.collect_children()
        return not self.active_children

    def _has_room(self) -> bool:
        return len(self.active_children or ()) < (self._limits.max_children or sys.maxsize)

    def _note_waiting(self, waiting: bool) -> None:
        if self._crowd is not None:
            self._crowd.set_waiting(waiting or self.draining)
        if self._vacancies is None:
            return
        if waiting and self._serving is not None and self._limits.overflow == "evict":
            make_room(self._kept_children(), self._vacancies, len(self._serving.ready))
            self._makes_room = True
        elif self._makes_room:
            withdraw(self._vacancies)
            self._makes_room = False

    def _begin_turn(self, client: Client) -> None:
        serving = self._serving
        if serving is None or not serving.lot.holds(client):
            self._fork(client)
            return
        serving.lot.unwatch(client)
        is_first = client.handler is None
        unprompted = client.handler is None and not self._shape().waits_for_data
        if not unprompted and not self._wants_turn(client):
            serving.lot.park(client)
        elif not self._shape().request_wise and client.state is not ENDING:
            self._take_out_of_lot(client)
            self._fork(client)
        elif client.handler is None and client.state is not ENDING and not self._open(client):
            serving.lot.discard(client)
        elif unprompted:
            serving.lot.park(client)
        elif client.state is ENDING and ends_plainly(client.handler):
            serving.lot.discard(client)
            turns.serve_turn_of_many(self, client, self._turn)
        else:
            self._fork(client, is_first)

    def _take_out_of_lot(self, client: Client) -> None:
        """From now on a child alone has the client."""
        if self._serving is not None:
            self._counters.begin_whole()
            self._serving.lot.forget(client)
            client.state = WHOLE

    def _open(self, client: Client) -> bool:
        """Have the handler set up here, once a client; False if its client is closed for it."""
        client.state = OPENING
        opened = turns.serve_turn_of_many(self, client, turns.only_open) is turns.PARK
        client.state = BUSY
        return opened

    def _new_turn(self, client: Client, is_first: bool) -> ChildTurn:
        """All that a child shares with its parent, which is made before the fork."""
        if self._crowd is None and self._limits.max_children is not None:
            self._crowd = Crowd()
        if self._marks is None:
            self._marks = Marks()
        serving = self._serving
        returns = serving is not None and serving.lot.holds(client)
        turn = ChildTurn(client, is_first, returns, self._marks.acquire())
        if self._tls is not None and self._tls.keeps_child(client):
            try:
                if self._vacancies is None:
                    self._vacancies = Vacancies()
                turn.keeps = KeptChild(turn.mark, self._vacancies)
            except OSError:
                turn.mark.release()
                raise
        return turn

    def _fork(self, client: Client, is_first: bool = True) -> None:
        serving = self._serving
        try:
            turn = self._new_turn(client, is_first)
        except OSError:
            self._have_no_worker(client)
            return
        try:
            pid = children.fork()
        except OSError:
            turn.close()
            turn.mark.release()
            self._have_no_worker(client)
            return
        if pid == 0:
            self._become_child(turn)
        if self.active_children is None:
            self.active_children = set()
        if self._child_turns is None:
            self._child_turns = {}
        self.active_children.add(pid)
        self._child_turns[pid] = turn
        if turn.returns:
            # The child has it, and would have it again.
            client.request.forget_unread()
        if serving is not None:
            turn.watch = ChildWatch(pid, self._child_exited)
            serving.worker_started()
        if not turn.returns:
            endings.let_go(self, client)

    def _child_exited(self, pid: int) -> None:
        """In the hub: a child is gone."""
        if self._serving is not None:
            self._serving.do_now(functools.partial(self._child_gone, pid))

    def _child_gone(self, pid: int) -> None:
        """In the serving greenlet: reap a child, and park its client or close it."""
        children.has_exited(pid)
        if self.active_children is not None:
            self.active_children.discard(pid)
        turn = (self._child_turns or {}).pop(pid, None)
        if turn is None:
            return
        turn.close()
        left, received, sent, silent_since, evicted = turn.mark.read()
        turn.mark.release()
        parks = bool(left & PARKS)
        self._counters.add_child(left & ~PARKS)
        self._counters.add_bytes(received, sent)
        self._counters.evicted += evicted
        if not turn.returns:
            if self._drain is not None:
                self._drain.note_child(silent_since)
            self._end_whole(turn.client.request, turn.client.address)
            return
        client, serving = turn.client, self._serving
        if parks and serving is None:
            client.state = PARKED
        if serving is not None:
            serving.settle(client, turns.PARK if parks else turns.END, silent_since)
        if not parks:
            # The handler has finished, in the child: here it only goes.
            client.handler = None
            client.request.disown_files()
            endings.let_go(self, client)

    def _resume(self, serving: Serving) -> None:
        serving.lot.descriptors = ClientDescriptors()
        super()._resume(serving)
        for pid, turn in (self._child_turns or {}).items():
            turn.watch = ChildWatch(pid, self._child_exited)

    def _suspend(self, serving: Serving) -> None:
        super()._suspend(serving)
        for turn in (self._child_turns or {}).values():
            turn.unwatch()

    def _release(self, client: Client) -> None:
        """Nothing here: the lot is the parent's, and has no watcher of the client."""

    # In the child.

    def _become_child(self, turn: ChildTurn) -> NoReturn:
        try:
            children.run_in_child(functools.partial(self._work_in_child, turn))
        finally:
            os._exit(1)

    def _work_in_child(self, turn: ChildTurn) -> NoReturn:
        status = 1
        try:
            self._leave_parent(turn.client)
            status = self._run_child_turn(turn)
        finally:
            os._exit(status)

    def _leave_parent(self, client: Client) -> None:
        """Close what is the parent's business: the listener, and every other client."""
        serving = self._serving
        if self._is_stream():
            others: list[Any] = []
            if hasattr(self, "socket") and self.socket.fileno() >= 0:
                others.append(listening.native(self.socket))
            if serving is not None and serving.ready:
                self._suspended.extend(each for each in serving.ready if each.lot is None)
            if self._suspended:
                others += [each.request for each in self._suspended if each is not client]
            children.close_descriptors(listening.abandon(others))
            if serving is not None and serving.lot.descriptors is not None:
                serving.lot.descriptors.close_all_but(client.request)
        self._serving, self._suspended = None, []
        forks_of_programs.leave_all_to_parent()
        for sock in client.request if isinstance(client.request, tuple) else (client.request,):
            if isinstance(sock, CooperativeSocket):
                sock.forget_hub()
            elif not isinstance(sock, bytes | OriginalSocket):
                children.take_along(sock)

    def _run_child_turn(self, turn: ChildTurn) -> int:
        """Run the turn; return the exit status: 0, or 1 if the handler raised an Exception."""
        status = 1

        def run(server: Any, client: Client) -> Outcome:
            nonlocal status
            outcome: Outcome
            if turn.keeps is not None:
                outcome = server._tls.run_turns(client, turn.keeps)
            elif server._shape().request_wise and client.handler is not None:
                linger = self._limits.linger * (turns.FIRST_LINGER if turn.is_first else 1)
                outcome = turns.GO_ON
                # What this child has read cannot go back to its parent, whoever waits there.
                while outcome is turns.GO_ON:
                    outcome = turns.run_lingering_turn(
                        server, client, linger, self._crowd, turn.mark
                    )
            else:
                self.finish_request(client.request, client.address)
                outcome = turns.END
            status = 0
            return outcome

        counters = self._counters
        before = counters.counted_in_child()
        received, sent = counters.bytes_received, counters.bytes_sent
        parks = turns.serve_turn(self, turn.client, run) is turns.PARK
        left = counters.since(before) | (PARKS if parks else 0)
        turn.mark.leave(left, counters.bytes_received - received, counters.bytes_sent - sent)
        return status
