"""What a program finds as ThreadingMixIn where its requests are to run in greenlets or children.

Programs do more with a ThreadingMixIn than to inherit from it: they set `daemon_threads`, override
`process_request_thread`, call it from a pool of threads of their own, and join `_threads`.
"""

from __future__ import annotations

import atexit
import weakref
from collections.abc import Callable, Iterator
from typing import Any

from greensock.hub.workers.greenlet_pool import GreenletPool
from greensock.mixins.child_turns import ChildTurn
from greensock.mixins.forks import ForkingMixIn, ForkRunner
from greensock.mixins.greenlets import GreenletMixIn, GreenletRunner
from greensock.serving.runner import Runner
from greensock.serving.service import Service

#: Runners whose handlers the end of the program waits for, as it does for threads.
_outlasting: weakref.WeakSet[_GreenletsAsThreads] = weakref.WeakSet()


def _wait_for_handlers() -> None:
    for runner in list(_outlasting):
        if runner.is_waited_for() and runner.pool is not None and runner.pool.is_here():
            runner.pool.join()


class Handlers:
    """A server's `_threads`: what is running, to be waited for. It has no threads to show."""

    def __init__(self, runner: _GreenletsAsThreads | _ChildrenAsThreads) -> None:
        self._runner = runner

    def append(self, thread: object) -> None:
        """Nothing to note: greenlets and children are known already."""

    def join(self) -> None:
        """Wait until no handler runs."""
        self._runner.wait_for_requests()

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def __len__(self) -> int:
        return 0


class _HandlersOfServer:
    """The class attribute `_threads`; what a program assigns to the instance comes first."""

    def __get__(self, server: Any, owner: type) -> Any:
        return self if server is None else Handlers(server._greensock.runner)


class _GreenletsAsThreads(GreenletRunner):
    """Greenlets that a program takes for threads."""

    server: Any

    def is_waited_for(self) -> bool:
        """Whether the end of the program waits for them."""
        return not self.server.daemon_threads

    def blocks_on_close(self) -> bool:
        """Nobody waits for daemons, whatever block_on_close says."""
        return super().blocks_on_close() and self.is_waited_for()

    def pool_here(self) -> GreenletPool:
        """As of other greenlets; the end of the program will wait for it."""
        if self.pool is None:
            # Once, however many servers there are.
            atexit.unregister(_wait_for_handlers)
            atexit.register(_wait_for_handlers)
            _outlasting.add(self)
        return super().pool_here()

    def wait_for_requests(self) -> None:
        """Wait until no handler runs."""
        if self.pool is not None and not self.pool.is_worker():
            self.pool.join()


class _ChildrenAsThreads(ForkRunner):
    """Children that a program takes for threads."""

    server: Any
    #: In a child: its turn, until the hook comes for it, and its exit status then.
    _turn_here: ChildTurn | None = None
    _status = 0

    def blocks_on_close(self) -> bool:
        """Nobody waits for daemons, whatever block_on_close says."""
        return super().blocks_on_close() and not self.server.daemon_threads

    def run_child_turn(self, turn: ChildTurn) -> int:
        """In the child: run the turn through the program's hook."""
        self._turn_here = turn
        self.server.process_request_thread(turn.client.request, turn.client.address)
        return self._status

    def process_in_thread(self, request: Any, client_address: Any) -> None:
        """What the hook `process_request_thread` does."""
        turn, self._turn_here = self._turn_here, None
        if turn is None:
            self.service.endings.serve_dedicated(request, client_address)
        else:
            self._status = super().run_child_turn(turn)

    def wait_for_requests(self) -> None:
        """Wait until no handler runs."""
        self.server.collect_children(blocking=True)


class _ThreadNames:
    """The names of ThreadingMixIn, for the two below.

    Differs from socketserver: of a request-wise handler, `process_request_thread` is called once
    a turn.
    """

    daemon_threads = False
    block_on_close = True
    _threads: Any = _HandlersOfServer()


class GreenletsForThreads(_ThreadNames, GreenletMixIn):
    """ThreadingMixIn whose threads are greenlets of the serving thread's hub."""

    _greensock_runner: Callable[[Service], Runner] = _GreenletsAsThreads

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        hook = GreenletsForThreads.process_request_thread
        if cls.process_request_thread is not hook:
            cls.process_request_greenlet = _call_thread_hook  # type: ignore[method-assign]

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """As in a server without a mixin but in a greenlet; errors are handled here."""
        GreenletMixIn.process_request_greenlet(self, request, client_address)


def _call_thread_hook(self: Any, request: Any, client_address: Any) -> None:
    self.process_request_thread(request, client_address)


class ChildrenForThreads(_ThreadNames, ForkingMixIn):
    """ThreadingMixIn whose threads are children."""

    _greensock_runner: Callable[[Service], Runner] = _ChildrenAsThreads

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """As in a server without a mixin but in a child; errors are handled here."""
        runner = self._greensock.runner
        assert isinstance(runner, _ChildrenAsThreads)
        runner.process_in_thread(request, client_address)
