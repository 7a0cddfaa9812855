"""Forked children: waiting for them without owning SIGCHLD, and a hub of its own for a child.

Facts (measured, libev and libuv): a child whose handler blocks cooperatively runs its parent's
other greenlets, timers and even its accept watcher; `gevent.os.fork` changes nothing there. One use
of a child watcher anywhere makes the default loop reap every child of the process, and a
`waitpid(-1)` steals other people's. A patched `os.fork` raises in the parent, after the fork, when
called in a native thread; a patched `os.waitpid` remembers pids it has reported. So: the original
calls, pids only, and a pidfd watched like any other descriptor, which turns readable at the exit
even if somebody else has reaped the child.
"""

from __future__ import annotations

import gc
import os
from collections import deque
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any, NoReturn

from gevent import Greenlet, get_hub, getcurrent, monkey
from gevent._hub_local import get_hub_if_exists, set_hub, set_loop
from gevent._waiter import Waiter
from gevent.hub import Hub
from greenlet import greenlet

from greensock.hub import signal_wakeup
from greensock.hub.waiting import READ, WRITE, new_watcher

# Arbitrary: seconds between looks at a child whose exit cannot be watched.
_LOOK_INTERVAL = 0.05

# How many objects of a request that is none of greensock's are looked at for sockets of gevent's.
# Arbitrary: a program's wrapper is one or two, but it may know the server, and so everything.
_MOST_LOOKED_AT = 1000


# The originals, patched process or not. Looked up once: whatever a parent touches between two forks
# the kernel has to copy, at 1 to 3 us a page.
_fork: Callable[[], int] = monkey.get_original("os", "fork")
_get_ident: Callable[[], int] = monkey.get_original("_thread", "get_ident")
_waitpid: Callable[[int, int], tuple[int, int]] = monkey.get_original("os", "waitpid")


# Children that nobody waits for any more, and that may still run; as `subprocess` keeps those whose
# Popen is gone.
_left: set[int] = set()


# The native thread that forks a child here.
_forking: int | None = None


def fork() -> int:
    """As os.fork, without what gevent adds to it; reaps who was left and has ended since."""
    global _forking
    if _left:
        for pid in tuple(_left):
            has_exited(pid)
    _forking = _get_ident()
    try:
        return _fork()
    finally:
        _forking = None


def is_forking() -> bool:
    """At a fork: whether it is one of `fork`, and not of the program's own."""
    return _forking == _get_ident()


def keep_hub() -> None:
    """In a child of the program's own fork: have this thread's hub, if it has one, turn here.

    Before anything is changed in it: it still shares its epoll with the parent, who would go deaf.
    """
    _left.clear()
    hub = get_hub_if_exists()
    if hub is not None:
        hub.loop.reinit()
        for part in (hub._threadpool, hub._resolver):
            getattr(part, "_on_fork", lambda: None)()


def end_with_this_greenlet() -> None:
    """In a child: end the process once the calling greenlet has ended.

    As it is with a thread that forks: it is its child's only one.
    """
    me = getcurrent()
    if isinstance(me, Greenlet):
        # These want the hub for their parent.
        me.rawlink(lambda _: os._exit(0))
    else:
        me.parent = greenlet(lambda *_: os._exit(0), me.parent)


def leave(pids: Iterable[int]) -> None:
    """Leave these children to run on: each is reaped when a child is forked after its end."""
    _left.update(pids)


def close_descriptors(fds: Iterable[int]) -> None:
    """Close `fds` at once, but -1: patched, os.close is put off until the loop turns.

    Neighbours go in one system call: a child of a server with 10,000 parked clients closes them in
    a handful of calls.
    """
    first = last = -1
    for fd in sorted(fds):
        if first >= 0 and fd == last + 1:
            last = fd
            continue
        if first >= 0:
            os.closerange(first, last + 1)
        first = last = fd
    if first >= 0:
        os.closerange(first, last + 1)


def has_exited(pid: int) -> bool:
    """Whether child `pid` is gone, reaping it if nobody has yet. Never blocks."""
    try:
        reaped, _status = _waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        # Somebody else's loop or SIGCHLD handler reaped it.
        reaped = pid
    if reaped != pid:
        return False
    _left.discard(pid)
    return True


class ChildWatch:
    """Calls `on_exit(pid)` in the hub once child `pid` has exited; whoever made it closes it.

    Where the kernel gives no pidfd (too old, or out of descriptors) it looks every 50 ms.
    """

    def __init__(self, pid: int, on_exit: Callable[[int], None]) -> None:
        self._pidfd = -1
        self._watcher: Any
        try:
            self._pidfd = os.pidfd_open(pid)
        except (OSError, AttributeError):
            self._watcher = get_hub().loop.timer(_LOOK_INTERVAL, _LOOK_INTERVAL)
            self._watcher.start(self._look, on_exit, pid)
        else:
            self._watcher = new_watcher(self._pidfd, READ)
            self._watcher.start(self._exited, on_exit, pid)

    def _look(self, on_exit: Callable[[int], None], pid: int) -> None:
        if has_exited(pid):
            self._exited(on_exit, pid)

    def _exited(self, on_exit: Callable[[int], None], pid: int) -> None:
        self._watcher.stop()
        on_exit(pid)

    def close(self) -> None:
        self._watcher.stop()
        self._watcher.close()
        if self._pidfd >= 0:
            os.closerange(self._pidfd, self._pidfd + 1)


def wait_for_any(pids: Iterable[int], timeout: float | None = None) -> None:
    """Block this greenlet, or a thread without a hub, until one of these children has exited.

    Or until `timeout` seconds are over.
    """
    pidfds: list[int] = []
    try:
        for pid in pids:
            try:
                pidfds.append(os.pidfd_open(pid))
            except ProcessLookupError:
                return
        _wait_for_one(pidfds, timeout)
    finally:
        close_descriptors(pidfds)


def _wait_for_one(fds: list[int], timeout: float | None) -> None:
    if get_hub_if_exists() is None:
        poller = monkey.get_original("select", "poll")()
        for fd in fds:
            poller.register(fd)
        poller.poll(None if timeout is None else max(0, round(timeout * 1000)))
        return
    waiter = Waiter()
    watchers = [new_watcher(fd, READ) for fd in fds]
    if timeout is not None:
        watchers.append(get_hub().loop.timer(max(timeout, 0.001)))
    try:
        for watcher in watchers:
            watcher.start(waiter.switch, None)
        waiter.get()
    finally:
        for watcher in watchers:
            watcher.close()


def wait_for_exit(pid: int) -> None:
    """Block this greenlet, or a thread without a hub, until child `pid` is gone, and reap it."""
    if not has_exited(pid):
        wait_for_any([pid])
        has_exited(pid)


def run_in_child(run: Callable[[], NoReturn]) -> NoReturn:
    """Give this freshly forked process a hub of its own, then `run`, which must end in os._exit.

    The new hub is made by whoever first asks for one: most handlers never do, and it costs 0.25 ms.
    Other gevent objects of the parent's fail here with "operation on destroyed loop".

    The order matters: `reinit` first, or libuv unregisters descriptors from the epoll that it still
    shares with the parent, which goes deaf; then only the C loop is destroyed. The old hub
    greenlet is never switched to: that would resume the parent's main program, here.
    """
    # A collection would write to every object there is, and so have the kernel copy every page.
    gc.freeze()
    _left.clear()
    signal_wakeup.leave_to_parent()
    old = get_hub_if_exists()
    if old is not None:
        old.loop.reinit()
        set_hub(None)
        set_loop(None)
        old.loop.destroy()
    if isinstance(getcurrent(), Hub):
        # Forked from a hub callback: there nothing could block.
        greenlet(run).switch()
    run()


def take_along(request: Any) -> None:
    """In a child: have the sockets of gevent's in `request` wait in the child's own hub.

    For what a program's get_request makes: a socket of gevent's or of a class derived from it, or
    an object of its own around one. Such a socket is bound to the hub that made it, which is not
    here any more. What is in that object nobody says, so the garbage collector is asked.
    """
    seen = {id(request)}
    found = deque([request])
    while found and len(seen) < _MOST_LOOKED_AT:
        each = found.popleft()
        if hasattr(type(each), "_read_event"):
            _renew_watchers(each)
            continue
        for part in gc.get_referents(each):
            if id(part) not in seen and not isinstance(part, type | ModuleType | Hub):
                seen.add(id(part))
                found.append(part)


def _renew_watchers(sock: Any) -> None:
    fd = sock.fileno()
    if fd >= 0:
        hub = sock.hub = get_hub()
        sock._read_event = hub.loop.io(fd, READ)
        sock._write_event = hub.loop.io(fd, WRITE)
