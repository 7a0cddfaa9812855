"""Blocking one greenlet until a descriptor is ready."""

from __future__ import annotations

import errno
import functools
import math
import os
import select
from time import monotonic
from typing import Any

from gevent import get_hub, getcurrent, monkey, sleep
from gevent._hub_local import get_hub_if_exists
from gevent.exceptions import BlockingSwitchOutError, InvalidSwitchError
from greenlet import greenlet

READ = 1
WRITE = 2

# What the kernel's `poll` calls the same.
_POLLED = {READ: select.POLLIN, WRITE: select.POLLOUT}
# `poll` counts milliseconds in an int: 24 days.
_LONGEST_POLL = 2**31 - 1

_switch: Any = greenlet.switch

# Seconds between two looks of a greenlet at a lock that another holds, at first and at last.
_FIRST_LOOK = 0.001
_LAST_LOOK = 0.05

# What a timer hands to the greenlet that it wakes.
_TIMED_OUT = object()


def this_hub() -> Any:
    """The hub of this thread, which is made if there is none yet: to tell it from others later."""
    return get_hub()


def is_hub_here(hub: Any) -> bool:
    """Whether a hub is that of this thread."""
    return get_hub_if_exists() is hub


def new_watcher(fd: int, events: int) -> Any:
    """An inactive watcher of `fd` on this thread's hub; whoever asked closes it before `fd`.

    libuv puts a descriptor that it is to watch in non-blocking mode, also for the thread or child
    that reads from it next; that is undone here, and does not trouble libuv.
    """
    loop = get_hub().loop
    if not _is_libuv(type(loop)):  # type: ignore[arg-type]
        return loop.io(fd, events)
    was_blocking = os.get_blocking(fd)
    watcher = loop.io(fd, events)
    os.set_blocking(fd, was_blocking)
    return watcher


def new_timer(seconds: float) -> Any:
    """An inactive timer of this thread's hub; whoever asked closes it."""
    # libuv's timers count in milliseconds, and warn of less.
    return get_hub().loop.timer(max(seconds, 0.001), ref=False)


@functools.cache
def _is_libuv(loop_class: type) -> bool:
    return loop_class.__module__.startswith("gevent.libuv")


def calls_back_last_first(loop: Any) -> bool:
    """Whether the watchers that a turn of `loop` finds ready are called in the reverse order.

    libev's are: it keeps them as a stack. The kernel finds them in the order of their events.
    """
    return not _is_libuv(type(loop))  # type: ignore[arg-type]


def loop_of(watcher: Any) -> Any:
    """The loop of an io watcher; libuv's share one real watcher a descriptor, which knows it."""
    loop = getattr(watcher, "loop", None)
    return watcher._watcher_ref.loop if loop is None else loop


def is_of_this_thread(watcher: Any) -> bool:
    """Whether `watcher` is one of this thread's hub, so that it may be waited on here."""
    hub = get_hub_if_exists()
    if hub is None:
        return False
    # As `loop_of`, which would be another call for each wait.
    loop = getattr(watcher, "loop", None)
    return (watcher._watcher_ref.loop if loop is None else loop) is hub.loop


def leave_for(hub: Any) -> Any:
    """Switch from this greenlet to `hub`; return what it is woken with.

    gevent's `hub.switch` first calls the `switch_out` of the greenlet that is left, which none of
    its own has; that layer costs each blocked greenlet 0.4 KiB of saved C stack. This function is
    one of its own because greenlet makes a frame object of the function that switches, with room
    for all of its variables.
    """
    return _switch(hub)


def wait(watcher: Any, timeout: float | None, or_this: Any = None) -> bool:
    """Block the calling greenlet until `watcher` fires; False at once if it is another thread's.

    gevent's own `hub.wait` builds a Waiter and leaves deadlines to `gevent.Timeout`: 1.7 us more
    for the one and 2.5-4.5 us for the other. A bare timer costs 0.3 us.

    Args:
        watcher: an io watcher; it is stopped on every way out.
        timeout: seconds, or None for no limit.
        or_this: another io watcher, which ends the wait as its timeout does.

    Raises:
        TimeoutError: `timeout` seconds went by first, or `or_this` fired.
        BlockingSwitchOutError: called by the hub itself (from a callback), which cannot block.
    """
    hub = get_hub_if_exists()
    if hub is None:
        return False
    loop = hub.loop
    # As `loop_of`, which would be another call for each wait.
    theirs = getattr(watcher, "loop", None)
    if (watcher._watcher_ref.loop if theirs is None else theirs) is not loop:
        return False
    current = getcurrent()
    if current is hub:
        raise BlockingSwitchOutError("a hub callback cannot wait for a socket")
    timer = None
    watcher.start(current.switch)
    try:
        if timeout is not None:
            # libuv's timers count in milliseconds, and warn of less.
            timer = loop.timer(max(timeout, 0.001))
            timer.start(current.switch, _TIMED_OUT)
        if or_this is not None:
            or_this.start(current.switch, _TIMED_OUT)
        woken_by = leave_for(hub)
        if woken_by is _TIMED_OUT:
            raise TimeoutError("timed out")
        # () is what a switch without an argument passes: the watcher's, which spares each waiting
        # greenlet a tuple.
        if woken_by != ():
            raise InvalidSwitchError(f"{current} waited for {watcher} but got {woken_by!r}")
        return True
    finally:
        watcher.stop()
        if or_this is not None:
            or_this.stop()
        if timer is not None:
            timer.stop()
            timer.close()


def pause(seconds: float) -> None:
    """Block this greenlet, or the native thread that has no hub, for some seconds."""
    if get_hub_if_exists() is None:
        monkey.get_original("time", "sleep")(seconds)
    else:
        sleep(seconds)


def look_at_the_clock() -> None:
    """Have timers that are started now count from now, not from when the loop last turned."""
    get_hub().loop.update_now()


def poll(fd: int, events: int, timeout: float | None) -> bool:
    """Block this native thread until `fd` is ready; say whether it is, or `timeout` is over.

    For threads without a hub, which have no greenlets to run meanwhile. Making them one for a wait
    would leave two descriptors and 18 KiB behind for as long as they live.
    """
    poller = monkey.get_original("select", "poll")()
    poller.register(fd, _POLLED[events])
    if timeout is None:
        return bool(poller.poll())
    give_up = monotonic() + timeout
    left = timeout
    while not poller.poll(min(math.ceil(max(left, 0.0) * 1000), _LONGEST_POLL)):
        left = give_up - monotonic()
        if left <= 0:
            return False
    return True


def wait_readable(fd: int, timeout: float | None) -> bool:
    """Block until `fd` is readable; say whether it is, or whether `timeout` seconds went by."""
    if timeout is not None and not timeout < math.inf:
        timeout = None
    if get_hub_if_exists() is None:
        return poll(fd, READ, timeout)
    watcher = new_watcher(fd, READ)
    try:
        wait(watcher, timeout)
    except TimeoutError:
        return False
    finally:
        watcher.close()
    return True


def new_lock() -> Any:
    """A lock of native threads, patched process or not; greenlets take it by `acquire`."""
    return monkey.get_original("_thread", "allocate_lock")()


def acquire(lock: Any, patience: float = 0.0) -> None:
    """Take a native lock; a greenlet whose hub has others to run lets them run meanwhile.

    Args:
        lock: not to be one that this greenlet holds.
        patience: seconds that a hub's thread may be kept at a time: worth it where whoever holds
            the lock is another thread and has it for microseconds.

    Raises:
        BlockingSwitchOutError: called by the hub itself, and the lock is not free so soon.
    """
    if lock.acquire(False):
        return
    hub = get_hub_if_exists()
    if hub is None:
        lock.acquire()
        return
    delay = _FIRST_LOOK
    while not lock.acquire(True, patience):
        if getcurrent() is hub:
            raise BlockingSwitchOutError("a hub callback cannot wait for a lock")
        pause(delay)
        delay = min(2 * delay, _LAST_LOOK)


def check_open(fd: int) -> None:
    """Raise the OSError of a closed descriptor if `fd` is one (a closed socket says -1)."""
    if fd < 0:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
