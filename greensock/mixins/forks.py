"""ForkingMixIn: each turn in a child process, and no child for a parked client."""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING, Any, NoReturn

from greensock import turns
from greensock.handlers import ends_plainly
from greensock.hub import children
from greensock.hub.children import ChildWatch, Marks
from greensock.hub.crowd import Crowd
from greensock.hub.lifetime import threads_are_greenlets
from greensock.hub.lot import BUSY, ENDING, OPENING, PARKED, Client
from greensock.net import listening
from greensock.net.cooperative_sockets import CooperativeSocket
from greensock.net.lingering_sockets import LingeringSocket
from greensock.net.request_sockets import OriginalSocket, is_request_socket
from greensock.servers import BaseServer
from greensock.serving import Serving
from greensock.turns import Outcome

if TYPE_CHECKING:
    _Base = BaseServer
else:
    _Base = object


class _ChildTurn:
    """A turn that runs in a child."""

    __slots__ = ("client", "is_first", "kept", "mark", "watch")

    def __init__(self, client: Client, is_first: bool, kept: bool, mark: int) -> None:
        self.client = client
        self.is_first = is_first
        #: Whether the parent keeps the request open too, to park it afterwards.
        self.kept = kept
        #: The number of the mark that the child sets if its client is to be parked.
        self.mark = mark
        self.watch: ChildWatch | None = None

    def unwatch(self) -> None:
        if self.watch is not None:
            self.watch.close()
            self.watch = None


class ForkingMixIn(_Base):
    """Mix-in class to handle each request in a child process; a parked client has none.

    Class variables:

    - `max_children`: how many children may run at once; further clients wait, and other greenlets
      run meanwhile. None: no limit. 40.
    - `block_on_close`: whether `server_close()` waits for the children. True.
    - `timeout`: seconds after which `handle_request` looks for children that have ended. 300.
    - `linger`: seconds for which a child that has answered a client waits for that client's next
      request before it leaves the client to the lot and ends. 0: not at all.

    Instance variable: `active_children`, the pids of the children not yet waited for, or None
    before the first.

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

    _child_turns: dict[int, _ChildTurn] | None = None
    _crowd: Crowd | None = None
    _marks: Marks | None = None

    def collect_children(self, *, blocking: bool = False) -> None:
        """Reap the children that have ended; with `blocking`, wait for all of them."""
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
        self._on_serving_greenlet(
            functools.partial(self.collect_children, blocking=self.block_on_close)
        )
        self._on_serving_greenlet(self._close_clients)
        if self._crowd is not None:
            self._crowd.close()
            self._crowd = None

    def _wants_service(self) -> bool:
        return type(self).service_actions is not ForkingMixIn.service_actions

    def _runs_on_hub(self) -> bool:
        return threads_are_greenlets()

    def _request_class(self) -> type[OriginalSocket]:
        if self._runs_on_hub():
            return CooperativeSocket
        return LingeringSocket if self._shape().parks else OriginalSocket

    def _has_room(self) -> bool:
        return self.max_children is None or len(self.active_children or ()) < self.max_children

    def _note_waiting(self, waiting: bool) -> None:
        if self._crowd is not None:
            self._crowd.set_waiting(waiting)

    def _begin_turn(self, client: Client) -> None:
        serving = self._serving
        if serving is None or not serving.lot.holds(client):
            self._fork(client)
            return
        serving.lot.unwatch(client)
        is_first = client.handler is None
        unprompted = client.handler is None and not self._shape().waits_for_data
        if not unprompted and not turns.wants_turn(client):
            serving.lot.park(client)
        elif not self._shape().request_wise and client.state is not ENDING:
            serving.lot.discard(client)
            self._fork(client)
        elif client.handler is None and client.state is not ENDING and not self._open(client):
            serving.lot.discard(client)
        elif unprompted:
            serving.lot.park(client)
        elif client.state is ENDING and ends_plainly(client.handler):
            serving.lot.discard(client)
            turns.serve_turn(self, client)
        else:
            self._fork(client, is_first)

    def _open(self, client: Client) -> bool:
        """Have the handler set up here, once a client; False if its client is closed for it."""
        client.state = OPENING
        opened = turns.serve_turn_of_many(self, client, turns.only_open) is turns.PARK
        client.state = BUSY
        return opened

    def _fork(self, client: Client, is_first: bool = True) -> None:
        serving = self._serving
        kept = serving is not None and serving.lot.holds(client)
        if self._marks is None:
            self._marks = Marks()
        turn = _ChildTurn(client, is_first, kept, self._marks.acquire())
        if self._crowd is None and self.max_children is not None:
            # Before the fork: the child is told through it.
            self._crowd = Crowd()
        try:
            pid = children.fork()
        except OSError:
            self._marks.release(turn.mark)
            self._end_unstarted(client)
            return
        if pid == 0:
            self._become_child(turn)
        if self.active_children is None:
            self.active_children = set()
        if self._child_turns is None:
            self._child_turns = {}
        self.active_children.add(pid)
        self._child_turns[pid] = turn
        if serving is not None:
            turn.watch = ChildWatch(pid, self._child_exited)
        if not kept:
            self.close_request(client.request)

    def _end_unstarted(self, client: Client) -> None:
        """No child to be had (memory, or the limit of processes): only this client is lost."""
        self.handle_error(client.request, client.address)
        client.state = ENDING
        turns.serve_turn(self, client)
        if self._serving is not None:
            self._serving.settle(client, turns.END)

    def _child_exited(self, pid: int) -> None:
        """In the hub: a child is gone."""
        if self._serving is not None:
            self._serving.do_soon(functools.partial(self._child_gone, pid))

    def _child_gone(self, pid: int) -> None:
        """In the serving greenlet: reap a child, and park its client or close it."""
        children.has_exited(pid)
        if self.active_children is not None:
            self.active_children.discard(pid)
        turn = (self._child_turns or {}).pop(pid, None)
        if turn is None or self._marks is None:
            return
        turn.unwatch()
        parks = self._marks.release(turn.mark)
        if not turn.kept:
            return
        client, serving = turn.client, self._serving
        if parks and serving is None:
            client.state = PARKED
        if serving is not None:
            serving.settle(client, turns.PARK if parks else turns.END)
        if not parks:
            # The handler has finished, in the child: here it only goes.
            client.handler = None
            client.request.disown_files()
            self.close_request(client.request)

    def _resume(self, serving: Serving) -> None:
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

    def _become_child(self, turn: _ChildTurn) -> NoReturn:
        try:
            children.run_in_child(functools.partial(self._work_in_child, turn))
        finally:
            os._exit(1)

    def _work_in_child(self, turn: _ChildTurn) -> NoReturn:
        status = 1
        try:
            self._leave_parent(turn.client)
            status = self._run_child_turn(turn)
        finally:
            os._exit(status)

    def _leave_parent(self, client: Client) -> None:
        """Close what is the parent's business: the listener, and every other client."""
        serving = self._serving
        self._serving = None
        if self._is_stream():
            others: list[Any] = [listening.native(self.socket)] if hasattr(self, "socket") else []
            others += [other.request for other in self._suspended]
            if serving is not None:
                others += serving.lot.clients
                others += [other.request for other in serving.ready if other.lot is None]
            others = [other for other in others if other is not client.request]
            children.close_descriptors(fd for fd in listening.abandon(others) if fd >= 0)
        self._suspended = []
        for sock in client.request if isinstance(client.request, tuple) else (client.request,):
            if isinstance(sock, CooperativeSocket):
                sock.forget_hub()
        if is_request_socket(client.request):
            client.request.close_gate = None

    def _run_child_turn(self, turn: _ChildTurn) -> int:
        """Run the turn; return the exit status: 0, or 1 if the handler raised an Exception."""
        status = 1

        def run(server: Any, client: Client) -> Outcome:
            nonlocal status
            if server._shape().request_wise and client.handler is not None:
                linger = self.linger * (turns.FIRST_LINGER if turn.is_first else 1)
                outcome = turns.run_lingering_turn(server, client, linger, self._crowd)
            else:
                self.finish_request(client.request, client.address)
                outcome = turns.END
            status = 0
            return outcome

        if turns.serve_turn(self, turn.client, run) is turns.PARK and self._marks is not None:
            self._marks.set(turn.mark)
        return status
