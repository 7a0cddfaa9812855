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
import mmap
import os
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

from gevent import get_hub, getcurrent, monkey
from gevent._hub_local import get_hub_if_exists, set_hub, set_loop
from gevent._waiter import Waiter
from gevent.hub import Hub
from greenlet import greenlet

from greensock.hub.waiting import READ, new_watcher

# Arbitrary: seconds between looks at a child whose exit cannot be watched.
_LOOK_INTERVAL = 0.05


def fork() -> int:
    """The original os.fork, patched process or not."""
    return int(monkey.get_original("os", "fork")())


def close_descriptors(fds: Iterable[int]) -> None:
    """Close `fds` at once: patched, os.close is put off until the loop turns.

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
        reaped, _status = monkey.get_original("os", "waitpid")(pid, os.WNOHANG)
    except ChildProcessError:
        # Somebody else's loop or SIGCHLD handler reaped it.
        return True
    return bool(reaped == pid)


class Marks:
    """Memory shared with children, in which each leaves one bit for its parent.

    Not the exit status: another part of the program may have reaped the child. Not a pipe: that
    costs two descriptors and four system calls for one bit.
    """

    _PAGE = 4096

    def __init__(self) -> None:
        self._pages: list[mmap.mmap] = []
        self._free: list[int] = []

    def acquire(self) -> int:
        """The number of a mark that is not set, and nobody else's until `release`."""
        if not self._free:
            first = len(self._pages) * self._PAGE
            self._pages.append(mmap.mmap(-1, self._PAGE))
            self._free = list(range(first, first + self._PAGE))
        return self._free.pop()

    def set(self, number: int) -> None:
        """In a child: leave the bit."""
        self._pages[number // self._PAGE][number % self._PAGE] = 1

    def release(self, number: int) -> bool:
        """In the parent, once the child is gone: say whether it left the bit, and take it away."""
        page, offset = self._pages[number // self._PAGE], number % self._PAGE
        was_set = page[offset] == 1
        page[offset] = 0
        self._free.append(number)
        return was_set


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
            close_descriptors([self._pidfd])


def wait_for_any(pids: Iterable[int]) -> None:
    """Block this greenlet, or a thread without a hub, until one of these children has exited."""
    pidfds: list[int] = []
    try:
        for pid in pids:
            try:
                pidfds.append(os.pidfd_open(pid))
            except ProcessLookupError:
                return
        _wait_for_one(pidfds)
    finally:
        close_descriptors(pidfds)


def _wait_for_one(fds: list[int]) -> None:
    if get_hub_if_exists() is None:
        poller = monkey.get_original("select", "poll")()
        for fd in fds:
            poller.register(fd)
        poller.poll()
        return
    waiter = Waiter()
    watchers = [new_watcher(fd, READ) for fd in fds]
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
