"""What a program finds as ThreadingMixIn where its requests are to run in greenlets or children.

Programs do more with a ThreadingMixIn than to inherit from it: they set `daemon_threads`, override
`process_request_thread`, call it from a pool of threads of their own, and join `_threads`.
"""

from __future__ import annotations

import atexit
import weakref
from collections.abc import Iterator
from typing import Any

from greensock import endings
from greensock.hub.workers import WorkerPool
from greensock.mixins.child_turns import ChildTurn
from greensock.mixins.forks import ForkingMixIn
from greensock.mixins.greenlets import GreenletMixIn

#: Servers whose handlers the end of the program waits for, as it does for threads.
_outlasting: weakref.WeakSet[Any] = weakref.WeakSet()


def _wait_for_handlers() -> None:
    for server in list(_outlasting):
        if not server.daemon_threads and server._gs_pool is not None and server._gs_pool.is_here():
            server._gs_pool.join()


class Handlers:
    """A server's `_threads`: what is running, to be waited for. It has no threads to show."""

    def __init__(self, server: Any) -> None:
        self._server = server

    def append(self, thread: object) -> None:
        """Nothing to note: greenlets and children are known already."""

    def join(self) -> None:
        """Wait until no handler runs."""
        self._server._wait_for_requests()

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def __len__(self) -> int:
        return 0


class _HandlersOfServer:
    """The class attribute `_threads`; what a program assigns to the instance comes first."""

    def __get__(self, server: Any, owner: type) -> Any:
        return self if server is None else Handlers(server)


class _ThreadNames:
    """The names of ThreadingMixIn, for the two below.

    Differs from socketserver: of a request-wise handler, `process_request_thread` is called once
    a turn.
    """

    daemon_threads = False
    block_on_close = True
    _threads: Any = _HandlersOfServer()

    def _gs_blocks_on_close(self) -> bool:
        # Nobody waits for daemons, whatever block_on_close says.
        return self.block_on_close and not self.daemon_threads


class GreenletsForThreads(_ThreadNames, GreenletMixIn):
    """ThreadingMixIn whose threads are greenlets of the serving thread's hub."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        hook = GreenletsForThreads.process_request_thread
        if cls.process_request_thread is not hook:
            cls.process_request_greenlet = _call_thread_hook  # type: ignore[method-assign]

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """As in a server without a mixin but in a greenlet; errors are handled here."""
        GreenletMixIn.process_request_greenlet(self, request, client_address)

    def _gs_pool_here(self) -> WorkerPool:
        if self._gs_pool is None:
            # Once, however many servers there are.
            atexit.unregister(_wait_for_handlers)
            atexit.register(_wait_for_handlers)
            _outlasting.add(self)
        return super()._gs_pool_here()

    def _wait_for_requests(self) -> None:
        pool = self._gs_pool
        if pool is not None and not pool.is_worker():
            pool.join()


def _call_thread_hook(self: Any, request: Any, client_address: Any) -> None:
    self.process_request_thread(request, client_address)


class ChildrenForThreads(_ThreadNames, ForkingMixIn):
    """ThreadingMixIn whose threads are children."""

    _turn_here: ChildTurn | None = None
    _status = 1

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """As in a server without a mixin but in a child; errors are handled here."""
        turn, self._turn_here = self._turn_here, None
        if turn is None:
            endings.serve_whole(self, request, client_address)
        else:
            self._status = ForkingMixIn._gs_run_child_turn(self, turn)

    def _gs_run_child_turn(self, turn: ChildTurn) -> int:
        self._turn_here = turn
        self._status = 0
        self.process_request_thread(turn.client.request, turn.client.address)
        return self._status

    def _wait_for_requests(self) -> None:
        self.collect_children(blocking=True)
