"""Where a serving greenlet sleeps, and the only ways to wake it."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable
from typing import Any

from gevent import get_hub, getcurrent, monkey
from gevent._hub_local import get_hub_if_exists
from greenlet import GreenletExit

from greensock.hub.waiting import leave_for
from greensock.hub.waking import Waker

# Seconds: 30 years. libuv's timers take no infinity.
_LONGEST_PAUSE = 1e9


class CutOff(GreenletExit):  # type: ignore[misc]
    """Ends whatever keeps a greenlet from its sleep."""


class Sleeper:
    """One greenlet's sleep until a fact: a readable listener, a ready client, a child's exit.

    Hub callbacks only ever `ring()`: the user's hooks (get_request, verify_request, ...) may block,
    which a callback cannot, and an exception that escapes from an io callback stops its watcher for
    good. They run in the serving greenlet instead.
    """

    def __init__(self) -> None:
        self._hub = get_hub()
        self._greenlet = getcurrent()
        self._thread = monkey.get_original("_thread", "get_ident")()
        self._asleep = False
        self._closed = False
        self._rung = False
        self._ring_scheduled = False
        self._pulse: Any = None
        self._hub_errands: deque[Callable[[], Any]] = deque()
        self._waker = Waker(self._woken)

    def in_this_thread(self) -> bool:
        """Whether the caller runs in the thread of the sleeping greenlet."""
        return get_hub_if_exists() is self._hub

    def is_main(self) -> bool:
        """Whether the caller is the sleeping greenlet, and the main one of its thread."""
        return getcurrent() is self._greenlet is self._hub.parent

    def ring(self) -> None:
        """Wake the greenlet; for hub callbacks of its own thread only."""
        self._rung = True
        if self._asleep:
            self._asleep = False
            self._greenlet.switch(self)

    def ring_after_events(self) -> None:
        """Wake the greenlet once this loop turn's other events are in; for hub callbacks.

        One switch for all clients that became ready together, in place of one each (0.6 us).
        """
        if not self._ring_scheduled:
            self._ring_scheduled = True
            self._hub.loop.run_callback(self._ring_now)

    def _ring_now(self) -> None:
        self._ring_scheduled = False
        self.ring()

    def ring_every(self, seconds: float | None) -> None:
        """Wake the greenlet again and again; None: never.

        What asks for no pause at all (0, or less) is given a millisecond: the least that both loops
        know, and a few hundredths of a processor in place of all of it.
        """
        if seconds is not None and self._pulse is None:
            between = min(max(float(seconds), 0.001), _LONGEST_PAUSE)
            self._pulse = self._hub.loop.timer(between, between)
            self._pulse.start(self.ring)

    def ring_soon(self) -> None:
        """Wake the greenlet at the hub's next turn; from any greenlet, thread or signal handler."""
        self._waker.wake()

    def call_in_hub(self, errand: Callable[[], Any]) -> None:
        """Have the hub call `errand`, which must not block; from anywhere.

        Whatever the serving greenlet is kept by, the hub is not.
        """
        self._hub_errands.append(errand)
        self._waker.wake()

    def _woken(self) -> None:
        while self._hub_errands:
            self._hub_errands.popleft()()
        self.ring()

    def frame(self) -> Any:
        """The innermost frame of the greenlet, which may be in a handler.

        From another thread, where it does not sleep: of what runs in its thread.
        """
        return self._greenlet.gr_frame or self.running_frame()

    def running_frame(self) -> Any:
        """The innermost frame of what runs in the greenlet's thread, for another thread to see."""
        return None if self.in_this_thread() else sys._current_frames().get(self._thread)

    def cut(self) -> None:
        """Raise CutOff where the greenlet waits for anything else than this, soon; in the hub."""
        self._hub.loop.run_callback(self._cut_now)

    def _cut_now(self) -> None:
        if not (self._asleep or self._closed):
            self._greenlet.throw(CutOff)

    def sleep(self) -> None:
        """Block until rung, or not at all if that has happened since the last sleep."""
        if not self._rung:
            self._asleep = True
            try:
                while not self._rung:
                    leave_for(self._hub)
            finally:
                self._asleep = False
        self._rung = False

    def is_of_caller(self) -> bool:
        """Whether the caller is the sleeping greenlet itself, which so is not asleep."""
        return getcurrent() is self._greenlet

    def renew_lock(self) -> None:
        """In a child: a thread that is not here may have held it at the fork."""
        self._waker.renew_lock()

    def stay_behind(self) -> None:
        """In a child: have nothing wake the greenlet, which is the parent's."""
        self._asleep = False
        self._hub_errands.clear()
        self._waker.close()

    def close(self) -> None:
        self._closed = True
        if self._pulse is not None:
            self._pulse.stop()
            self._pulse.close()
        self._waker.close()

    @property
    def loop(self) -> Any:
        """The loop that serves this greenlet, for watchers that are to ring."""
        return self._hub.loop
