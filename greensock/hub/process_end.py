"""The end of a process in which other native threads run hubs.

Facts (measured): up to Python 3.13 a native thread that asks for the interpreter's lock while the
interpreter is being finalised is ended on the spot. If it runs greenlets, what unwinds its stack
comes upon frames that were moved, and drops references to whatever is there: 3 to 25 % of such
processes crashed at their end, with gevent alone too. A thread that waits for a lock which nobody
releases asks for nothing any more. So all hubs but the ending thread's are made to do that.
"""

from __future__ import annotations

import atexit
import contextlib
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from gevent import monkey
from gevent._hub_local import get_hub_if_exists
from gevent.hub import Hub

from greensock.hub.loop_ends import call_soon

_allocate_lock: Any = monkey.get_original("_thread", "allocate_lock")
_get_ident: Callable[[], int] = monkey.get_original("_thread", "get_ident")
_sleep: Callable[[float], None] = monkey.get_original("time", "sleep")

#: Seconds that the end of the process waits for threads whose hub does not turn, because a handler
#: keeps it. Arbitrary: far more than a handler that is any good keeps it for.
PATIENCE = 1.0

# Seconds in which they then halt in that handler, if it runs Python code. Arbitrary.
_LAST_PATIENCE = 0.25

# Seconds in which a thread that has said that it halts is sure to have done so: a few instructions.
_FEW_INSTRUCTIONS = 0.005

# Seconds between two looks whether a thread has halted. A hub that ends by itself says nothing.
_LOOK = 0.01

# Looks in a row that find no further hub that turns, until there is none: one is only seen while
# its thread is in it, and not in a handler's greenlet. With three, of processes whose handlers
# sleep for a millisecond at a time one in some hundreds crashed under load.
_LOOKS = 10

# Looks at most, should somebody make hubs all the time.
_MOST_LOOKS = 200

#: Hubs that serve, or are about to, in threads other than the main one.
serving: set[Any] = set()

_is_over = False


def wait_for_it() -> None:
    """Before a thread makes a hub: if the process ends just now, go no further."""
    if _is_over:
        _wait_for_ever()


def _wait_for_ever() -> None:
    never = _allocate_lock()
    never.acquire()
    never.acquire()


def _has_ended(hub: Any) -> bool:
    # Destroyed in its thread, it may count as alive for as long as that is.
    return hub.loop is None or hub.dead


def _hubs_of_other_threads() -> set[Any]:
    """Those that serve, and those that turn: a handler's thread may have one, and a program's.

    The garbage collector knows all hubs. But to ask it while other threads run makes what they do
    fail: a tuple that C code fills must not be known to anybody.
    """
    frames, found = sys._current_frames(), set(serving)
    for frame in frames.values():
        each: FrameType | None = frame
        while each is not None and each.f_code is not Hub.run.__code__:
            each = each.f_back
        if each is not None:
            found.add(each.f_locals["self"])
    mine = get_hub_if_exists()
    return {
        hub
        for hub in found
        if hub is not mine and hub.thread_ident in frames and not _has_ended(hub)
    }


class _Halting:
    """Threads with hubs, which are to halt, and wait for ever where they are then."""

    def __init__(self) -> None:
        self._asked: set[Any] = set()
        self._halted: set[int] = set()
        self._news = _allocate_lock()

    def ask(self) -> bool:
        """Have each halt as soon as its hub turns, where it runs no code of the program's.

        Returns whether one was found that was not asked yet.
        """
        further = _hubs_of_other_threads() - self._asked
        for hub in further:
            self._asked.add(hub)
            call_soon(hub.loop, self._halt)
        return bool(further)

    def insist(self) -> None:
        """Have each halt in whatever Python code keeps its hub from turning.

        An exception raised in it would run more of the program's code. But to be raised, it has to
        be made first, in that thread.
        """
        import ctypes

        halt = self._halt

        class Halt(BaseException):
            def __init__(self) -> None:
                halt()

        for hub in self._moving():
            ctypes.pythonapi.PyThreadState_SetAsyncExc(
                ctypes.c_ulong(hub.thread_ident), ctypes.py_object(Halt)
            )

    def wait(self, seconds: float) -> bool:
        """Wait until all have halted; return whether that is so, rather than `seconds` over.

        Those are counted by looks: on a machine that has no time for this thread, which looks, it
        may have had none for the others, and all of them may still halt by themselves.
        """
        looks = seconds / _LOOK
        while self._moving():
            if looks <= 0.0:
                return False
            if not self._news.acquire(timeout=_LOOK):
                looks -= 1.0
        return True

    def _moving(self) -> list[Any]:
        return [
            hub
            for hub in self._asked
            if hub.thread_ident not in self._halted and not _has_ended(hub)
        ]

    def _halt(self) -> None:
        self._halted.add(_get_ident())
        with contextlib.suppress(RuntimeError):
            self._news.release()
        _wait_for_ever()


def halt_hubs(patience: float = PATIENCE) -> None:
    """Halt all threads with hubs but this one, for ever.

    A thread that blocks outside of Python and of the hub for longer than `patience` is left as it
    is: it asks for nothing either.
    """
    global _is_over
    _is_over = True
    if len(sys._current_frames()) == 1:
        return
    halting, last_patience = _Halting(), _LAST_PATIENCE
    in_vain = 0
    for _ in range(_MOST_LOOKS):
        in_vain = 0 if halting.ask() else in_vain + 1
        if in_vain == _LOOKS:
            return
        if not halting.wait(patience):
            halting.insist()
            halting.wait(last_patience)
            patience = last_patience = 0.0
        _sleep(_FEW_INSTRUCTIONS)


class _LastExitFunction:
    """Called once all other exit functions are done, whenever those were registered.

    They run in the reverse order, and those of a program that was there first may still need its
    servers, or join their threads. But what the interpreter was given with each of them it lets go
    of only after the last.
    """

    def __init__(self) -> None:
        self._process_ends = False
        atexit.register(self.note_end)

    def note_end(self) -> None:
        # Not so where the functions are only dropped, as in children of multiprocessing.
        self._process_ends = True

    def __del__(self) -> None:
        if self._process_ends:
            halt_hubs()


_LastExitFunction()
