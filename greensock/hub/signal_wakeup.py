"""Signals that are noticed by a loop that sleeps.

gevent looks for signals before its loop sleeps and after; one that comes between the look and the
sleep interrupts nothing, and a server with nothing to do then noticed Ctrl-C only once a client
came. What the interpreter writes to a descriptor for each signal wakes the loop in any case.
"""

from __future__ import annotations

import contextlib
import os
import signal
from typing import Any

from gevent import get_hub
from gevent._hub_local import get_hub_if_exists

from greensock.hub.waiting import READ


class SignalWakeup:
    """Wakes the hub of the main thread for every signal that Python handles; close it there."""

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)
        self._hub = get_hub()
        self._watcher: Any = self._hub.loop.io(self._reader, READ, ref=False)
        self._watcher.start(self._drain)
        signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)

    def _drain(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._reader, 4096)

    def is_here(self) -> bool:
        """Whether it wakes the hub of this thread."""
        return get_hub_if_exists() is self._hub

    def close(self) -> None:
        """Stop; a descriptor that somebody else has set since is left alone."""
        other = signal.set_wakeup_fd(-1)
        if other not in (self._writer, -1):
            signal.set_wakeup_fd(other)
        self._watcher.stop()
        self._watcher.close()
        self.close_descriptors()

    def close_descriptors(self) -> None:
        os.closerange(self._reader, self._reader + 1)
        os.closerange(self._writer, self._writer + 1)


_wakeup: SignalWakeup | None = None
_users = 0


def begin() -> bool:
    """In the main thread: have signals noticed until `end`. False: the program does so itself."""
    global _wakeup, _users
    if type(get_hub().loop).__module__.startswith("gevent.libuv"):
        # It has a timer that looks for signals; raised in a callback, Ctrl-C would be lost there.
        return False
    if _wakeup is None:
        other = signal.set_wakeup_fd(-1)
        if other != -1:
            signal.set_wakeup_fd(other)
            return False
        _wakeup = SignalWakeup()
    _users += 1
    return True


def end() -> None:
    """After a `begin` that returned True."""
    global _wakeup, _users
    _users -= 1
    if _users <= 0 and _wakeup is not None:
        wakeup, _wakeup = _wakeup, None
        wakeup.close()


def renew() -> None:
    """In a child that keeps this thread's hub: have its own signals noticed there."""
    global _wakeup
    if _wakeup is None:
        return
    if not _wakeup.is_here():
        leave_to_parent()
        return
    _wakeup.close()
    other = signal.set_wakeup_fd(-1)
    if other == -1:
        _wakeup = SignalWakeup()
    else:
        signal.set_wakeup_fd(other)
        _wakeup = None


def leave_to_parent() -> None:
    """In a child: its signals are not the parent's."""
    global _wakeup, _users
    wakeup, _wakeup, _users = _wakeup, None, 0
    if wakeup is not None:
        signal.set_wakeup_fd(-1)
        wakeup.close_descriptors()
