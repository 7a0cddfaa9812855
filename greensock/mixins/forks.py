"""ForkingMixIn: each turn in a child process, and no child for a parked client."""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator
from time import monotonic
from typing import TYPE_CHECKING, Any

from greensock import endings, turns
from greensock.base_server import BaseServer
from greensock.draining import AtWork
from greensock.handler_making import Absent
from greensock.hub import children
from greensock.hub.children import ChildWatch
from greensock.hub.client_descriptors import ClientDescriptors
from greensock.hub.crowd import Crowd, Vacancies
from greensock.hub.kept_children import KeptChild, make_room, withdraw
from greensock.hub.lifetime import threads_are_greenlets
from greensock.hub.lot import ENDING, PARKED, WHOLE, Client
from greensock.hub.marks import Marks
from greensock.mixins import child_work
from greensock.mixins.child_turns import PARKS, ChildTurn, killer
from greensock.net.cooperative_sockets import CooperativeSocket
from greensock.net.lingering_sockets import LingeringSocket
from greensock.net.request_sockets import OriginalSocket, is_request_socket
from greensock.serving import Serving
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

    _gs_hands_over = True
    _gs_of_process = (
        "active_children",
        "_gs_child_turns",
        "_gs_crowd",
        "_gs_marks",
        "_gs_vacancies",
    )
    _gs_shares_unread = False
    _gs_workers = "processes"
    _gs_accept_some = BaseServer._gs_accept_one
    _gs_child_turns: dict[int, ChildTurn] | None = None
    _gs_crowd: Crowd | None = None
    _gs_marks: Marks | None = None
    _gs_vacancies: Vacancies | None = None
    _gs_makes_room = False

    def collect_children(self, *, blocking: bool = False) -> None:
        """Reap the children that have ended; with `blocking`, wait for all of them.

        From any thread; while the server serves, it is its thread that does so.
        """
        # The children's watchers are that thread's loop's: closed here, they crashed it.
        self._gs_on_serving_greenlet(functools.partial(self._gs_collect, blocking))

    def _gs_collect(self, blocking: bool) -> None:
        for pid in list(self.active_children or ()):
            if blocking:
                children.wait_for_exit(pid)
                self._gs_child_gone(pid)
            elif children.has_exited(pid):
                self._gs_child_gone(pid)

    def handle_timeout(self) -> None:
        """Reap the children that have ended; may be extended."""
        self.collect_children()

    def service_actions(self) -> None:
        """Reap the children that have ended; may be extended."""
        self.collect_children()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Fork a child for the request, or park its client."""
        if self._gs_admit(request, client_address) is not None:
            return
        client = Client(request, client_address)
        client.state = WHOLE
        self._gs_begin_whole(request, client_address)
        if self._gs_serving is None:
            while not self._gs_has_room():
                children.wait_for_any(list(self.active_children or ()))
                self.collect_children()
        elif not self._gs_has_room():
            self._gs_serving.ready.append(client)
            return
        self._gs_fork(client)

    def server_close(self) -> None:
        """Close as the server does, then wait for the children if `block_on_close`."""
        super().server_close()
        self._gs_on_serving_greenlet(self._gs_dismiss_silent)
        collect = functools.partial(self.collect_children, blocking=self._gs_blocks_on_close())
        self._gs_on_serving_greenlet(collect)
        self._gs_on_serving_greenlet(self._gs_close_clients)
        # The end of those may be in children too.
        self._gs_on_serving_greenlet(collect)
        children.leave(self.active_children or ())
        if self._gs_crowd is not None:
            self._gs_crowd.close()
            self._gs_crowd = None
        if self._gs_vacancies is not None and not self.active_children:
            self._gs_vacancies.close()
            self._gs_vacancies = None

    def _gs_blocks_on_close(self) -> bool:
        return self.block_on_close

    def _gs_wants_service(self) -> bool:
        return type(self).service_actions is not ForkingMixIn.service_actions

    def _gs_in_children(self) -> bool:
        return True

    def _gs_runs_on_hub(self) -> bool:
        return threads_are_greenlets()

    def _gs_request_class(self) -> type[OriginalSocket]:
        if self._gs_runs_on_hub():
            return CooperativeSocket
        return LingeringSocket if self._gs_shape().needs_request_socket else OriginalSocket

    def _gs_hurry_lingering(self, drained_at: float) -> None:
        self._gs_note_waiting(True)
        self._gs_dismiss_silent(drained_at)

    def _gs_kept_children(self) -> list[KeptChild]:
        turns = (self._gs_child_turns or {}).values()
        return [turn.keeps for turn in turns if turn.keeps is not None]

    def _gs_dismiss_silent(self, drained_at: float = 0.0) -> None:
        """Have each child that keeps its client end once the client is silent."""
        for child in self._gs_kept_children():
            child.dismiss(drained_at)

    def _gs_at_work(self) -> Iterator[AtWork]:
        for pid, turn in list((self._gs_child_turns or {}).items()):
            client = turn.client
            yield AtWork(client.address, client.request, f"child {pid}", killer(pid))

    def _gs_join_workers(self, timeout: float) -> bool:
        deadline = monotonic() + timeout
        self.collect_children()
        while self.active_children and monotonic() < deadline:
            children.wait_for_any(list(self.active_children), deadline - monotonic())
            self.collect_children()
        return not self.active_children

    def _gs_has_room(self) -> bool:
        return len(self.active_children or ()) < (self._gs_limits.max_children or sys.maxsize)

    def _gs_note_waiting(self, waiting: bool) -> None:
        if self._gs_crowd is not None:
            self._gs_crowd.set_waiting(waiting or self.draining)
        if self._gs_vacancies is None:
            return
        if waiting and self._gs_serving is not None and self._gs_limits.overflow == "evict":
            make_room(self._gs_kept_children(), self._gs_vacancies, len(self._gs_serving.ready))
            self._gs_makes_room = True
        elif self._gs_makes_room:
            withdraw(self._gs_vacancies)
            self._gs_makes_room = False

    def _gs_begin_turn(self, client: Client) -> None:
        serving = self._gs_serving
        if serving is None or not serving.lot.holds(client):
            self._gs_fork(client)
            return
        serving.lot.unwatch(client)
        shape = self._gs_shape()
        unprompted = client.handler is None and not shape.waits_for_data
        if not unprompted and not self._gs_wants_turn(client):
            serving.lot.park(client)
        elif client.state is ENDING and self._gs_ends_here(client):
            serving.lot.discard(client)
            turns.serve_turn_of_many(self, client, self._gs_turn)
        else:
            if client.state is not ENDING and not shape.request_wise:
                self._gs_take_out_of_lot(client)
            elif unprompted and shape.timeout is not None:
                # As the child's setup() will, of which nothing comes back.
                client.request.settimeout(shape.timeout)
            self._gs_fork(client)

    def _gs_take_out_of_lot(self, client: Client) -> None:
        """From now on a child alone has the client."""
        self._gs_counters.begin_whole()
        if self._gs_serving is not None:
            self._gs_serving.lot.forget(client)
        client.state = WHOLE

    def _gs_ends_here(self, client: Client) -> bool:
        """Whether a parked client's end runs no code of its handler's class."""
        return client.handler is None or (
            self._gs_shape().finishes_plainly and not client.handler.says_goodbye
        )

    def _gs_handler_of(self, client: Client) -> Any:
        if type(client.handler) is Absent:
            shape = self._gs_shape()
            plainly = type(self).finish_request is BaseServer.finish_request and shape.made_plainly
            if not (plainly and shape.finishes_plainly):
                client.handler = Absent(shape.cls, says_goodbye=True)
                return None
            client.handler = None
            turns.open_handler(self, client)
        return client.handler

    def _gs_close_client(self, client: Client) -> None:
        if type(client.handler) is not Absent or self._gs_ends_here(client):
            super()._gs_close_client(client)
            return
        self._gs_take_out_of_lot(client)
        client.state = ENDING
        while not self._gs_has_room():
            children.wait_for_any(list(self.active_children or ()))
            self._gs_collect(False)
        self._gs_fork(client)

    def _gs_new_turn(self, client: Client) -> ChildTurn:
        """All that a child shares with its parent, which is made before the fork."""
        if self._gs_crowd is None and self._gs_limits.max_children is not None:
            self._gs_crowd = Crowd()
        if self._gs_marks is None:
            self._gs_marks = Marks()
        serving = self._gs_serving
        returns = serving is not None and serving.lot.holds(client)
        turn = ChildTurn(client, client.handler is None, returns, self._gs_marks.acquire())
        if self._gs_is_kept(client):
            try:
                if self._gs_vacancies is None:
                    self._gs_vacancies = Vacancies()
                turn.keeps = KeptChild(turn.mark, self._gs_vacancies)
            except OSError:
                turn.mark.release()
                raise
        return turn

    def _gs_is_kept(self, client: Client) -> bool:
        """Whether all turns of a client run in the child that is about to be forked."""
        if client.state is ENDING:
            return False
        if self._gs_tls is not None:
            return self._gs_tls.keeps_child(client)
        return self._gs_shape().keeps_child and is_request_socket(client.request)

    def _gs_fork(self, client: Client) -> None:
        serving, shape = self._gs_serving, self._gs_shape()
        try:
            turn = self._gs_new_turn(client)
        except OSError:
            self._gs_have_no_worker(client)
            return
        try:
            pid = children.fork()
        except OSError:
            turn.close()
            turn.mark.release()
            self._gs_have_no_worker(client)
            return
        if pid == 0:
            child_work.become_child(self, turn)
        if self.active_children is None:
            self.active_children = set()
        if self._gs_child_turns is None:
            self._gs_child_turns = {}
        self.active_children.add(pid)
        self._gs_child_turns[pid] = turn
        if turn.returns:
            # The child has it, and would have it again.
            client.request.forget_unread()
            client.handler = shape.absent
        if serving is not None:
            turn.watch = ChildWatch(pid, self._gs_child_exited)
            serving.worker_started()
        if not turn.returns:
            endings.let_go(self, client)

    def _gs_child_exited(self, pid: int) -> None:
        """In the hub: a child is gone."""
        if self._gs_serving is not None:
            self._gs_serving.do_now(functools.partial(self._gs_child_gone, pid))

    def _gs_child_gone(self, pid: int) -> None:
        """In the serving greenlet: reap a child, and park its client or close it."""
        children.has_exited(pid)
        if self.active_children is not None:
            self.active_children.discard(pid)
        turn = (self._gs_child_turns or {}).pop(pid, None)
        if turn is None:
            return
        turn.close()
        left, received, sent, silent_since, evicted = turn.mark.read()
        turn.mark.release()
        parks = bool(left & PARKS)
        self._gs_counters.add_child(left & ~PARKS)
        self._gs_counters.add_bytes(received, sent)
        self._gs_counters.evicted += evicted
        if not turn.returns:
            if self._gs_drain is not None:
                self._gs_drain.note_child(silent_since)
            self._gs_end_whole(turn.client.request, turn.client.address)
            return
        client, serving = turn.client, self._gs_serving
        if parks and serving is None:
            client.state = PARKED
        if serving is not None:
            serving.settle(client, turns.PARK if parks else turns.END, silent_since)
        if not parks:
            # The handler has finished, in the child: here it only goes.
            client.handler = None
            client.request.disown_files()
            endings.let_go(self, client)

    def _gs_resume(self, serving: Serving) -> None:
        serving.lot.descriptors = ClientDescriptors()
        super()._gs_resume(serving)
        for pid, turn in (self._gs_child_turns or {}).items():
            turn.watch = ChildWatch(pid, self._gs_child_exited)

    def _gs_suspend(self, serving: Serving) -> None:
        super()._gs_suspend(serving)
        for turn in (self._gs_child_turns or {}).values():
            turn.unwatch()

    def _gs_release(self, client: Client) -> None:
        """Nothing here: the lot is the parent's, and has no watcher of the client."""

    def _gs_run_child_turn(self, turn: ChildTurn) -> int:
        """In the child: run the turn; return the exit status."""
        return child_work.run_turn(self, turn)
