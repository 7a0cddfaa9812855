"""Seeing from outside that a hub does not turn.

gevent's own monitor needs a hook at each switch (1.45 us become 1.57) and knows no clients. Here
the hub does nothing for it: a native thread looks at the loop's own count of its turns, a few times
per `seconds`. If that stands still while Python code runs in the hub's thread, that code is what
keeps the hub.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from time import monotonic
from types import FrameType
from typing import Any

from gevent import get_hub, monkey
from gevent._hub_local import get_hub_if_exists

from greensock.hub import loop_ends

# Looks per time limit: what is found is found 1/4 of it late at the most.
_LOOKS = 4


class StallWatch:
    """Calls `on_stall(frame, seconds)`, in a native thread, once for each stall of this hub.

    Args:
        seconds: for how long the hub must have stood still.
        on_stall: given the innermost frame of what keeps it, and for how long it has until now.

    Raises:
        RuntimeError: no thread can be started.
    """

    def __init__(self, seconds: float, on_stall: Callable[[FrameType, float], None]) -> None:
        self._seconds = seconds
        self._on_stall = on_stall
        self._loop = get_hub().loop
        self._thread = monkey.get_original("_thread", "get_ident")()
        self._turns = 0
        self._counter: Any = None
        if not hasattr(self._loop, "iteration"):
            # libuv's does not count.
            self._counter = self._loop.prepare(ref=False)
            self._counter.start(self._count)
        allocate: Any = monkey.get_original("_thread", "allocate_lock")
        self._open, self._running = allocate(), allocate()
        self._open.acquire()
        self._running.acquire()
        try:
            monkey.get_original("_thread", "start_new_thread")(self._run, ())
        except RuntimeError:
            self.stop_counting()
            raise

    def close(self) -> None:
        """End the thread; in the watched thread."""
        self.stop_counting()
        self._open.release()
        # Not for ever: it may be writing to a log that is held by whoever is blocked by this.
        self._running.acquire(timeout=1.0)

    def stop_counting(self) -> None:
        """Stop what the hub does for it; in the watched thread."""
        if self._counter is not None:
            self._counter.stop()
            self._counter.close()

    def _count(self) -> None:
        self._turns += 1

    def _run(self) -> None:
        try:
            self._watch()
        finally:
            # A patched process's log may have made one here, which would keep two descriptors.
            hub = get_hub_if_exists()
            if hub is not None:
                loop_ends.destroy(hub)
            self._running.release()

    def _watch(self) -> None:
        last, since, told = -1, monotonic(), False
        while not self._open.acquire(timeout=self._seconds / _LOOKS):
            turn = self._turns if self._counter is not None else self._loop.iteration
            frame = sys._current_frames().get(self._thread)
            if turn != last or frame is None or _only_waits(frame):
                last, since, told = turn, monotonic(), False
            elif not told and monotonic() - since >= self._seconds:
                told = True
                self._on_stall(frame, monotonic() - since)
            del frame


def _only_waits(frame: FrameType | None) -> bool:
    """Whether a thread runs nothing but gevent's own loop."""
    while frame is not None:
        if not frame.f_globals.get("__name__", "").startswith("gevent."):
            return False
        frame = frame.f_back
    return True
