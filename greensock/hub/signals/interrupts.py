"""What a signal handler raises is for the program, not for whoever happened to run just then.

Python calls a signal's handler in the main thread between any two instructions: in a greenlet that
runs a request handler, in a hub callback, amid a hook. `sys.exit()` on SIGTERM, or Ctrl-C, is to
end the program then, and not that one client; so what was raised goes to the main greenlet.

Nothing is noted in advance for that. A signal's handler is called with the frame that it has
interrupted, which is the frame below its own: no other call looks like that, whatever a program has
registered since, and however it has wrapped it. The C function behind Ctrl-C has no frame; there,
what tells is that no statement of the program's has raised it.
"""

from __future__ import annotations

import contextlib
import dis
import os
import sys
import threading
from collections.abc import Callable, Iterator
from inspect import CO_VARARGS
from types import FrameType, TracebackType
from typing import Any

from gevent import get_hub, getcurrent
from gevent._hub_local import get_hub_if_exists

_RAISING = {dis.opmap["RAISE_VARARGS"], dis.opmap["RERAISE"]}


def is_interrupt(error: BaseException | None, traceback: TracebackType | None = None) -> bool:
    """Whether a signal's handler has raised `error`; its own traceback will do where it has one."""
    # Signals are handled in the main thread; `lifetime.in_main_thread` says why this asks so.
    if error is None or threading.get_native_id() != os.getpid():
        return False
    entries = left_frames(traceback or error.__traceback__)
    if any(_is_signal_handler(frame) for frame, _ in entries):
        return True
    return isinstance(error, KeyboardInterrupt) and not (entries and _raises(*entries[-1]))


def left_frames(traceback: TracebackType | None) -> list[tuple[FrameType, int]]:
    """The frames that an error has left, outermost first, and at which instruction it did.

    Not those that still run, one of which has caught it: before Python 3.13 the `f_locals` of a
    frame is kept with it. That of a frame which knows the error would be a cycle, which keeps the
    handler, and with its files the client's connection, until the garbage collector comes.
    """
    running: set[int] = set()
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        running.add(id(frame))
        frame = frame.f_back
    left = []
    while traceback is not None:
        if id(traceback.tb_frame) not in running:
            left.append((traceback.tb_frame, traceback.tb_lasti))
        traceback = traceback.tb_next
    return left


def _is_signal_handler(frame: FrameType) -> bool:
    code = frame.f_code
    count = code.co_argcount
    takes_any = code.co_flags & CO_VARARGS
    if frame.f_back is None or not (count or takes_any):
        return False
    values = frame.f_locals
    given = [values.get(name) for name in code.co_varnames[:count]]
    if takes_any:
        given += values.get(code.co_varnames[count + code.co_kwonlyargcount], ())
    return any(each is frame.f_back for each in given)


def _raises(frame: FrameType, at: int) -> bool:
    """Whether the instruction at an offset is a `raise`."""
    return at >= 0 and not _RAISING.isdisjoint(frame.f_code.co_code[at : at + 1])


def pass_on(error: BaseException) -> None:
    """Have the main greenlet of this thread raise `error`: at once if it is the caller, else soon.

    Raises:
        BaseException: `error`.
    """
    hub = get_hub_if_exists()
    try:
        if hub is None or getcurrent() is hub.parent:
            raise error
        hub.loop.run_callback(hub.handle_system_error, type(error), error, error.__traceback__)
    finally:
        # Its traceback refers to this frame.
        del error


class _Hearer:
    """In place of a hub's `handle_error`, while `users` runs of serve_forever want it."""

    def __init__(self, hub: Any) -> None:
        self._hub = hub
        self._own = vars(hub).get("handle_error")
        self._ordinary: Callable[..., Any] = hub.handle_error
        self.users = 0
        self.lost: _LostHearer
        hub.handle_error = self

    def __call__(self, context: Any, kind: Any, error: Any, traceback: Any) -> None:
        if isinstance(error, BaseException) and is_interrupt(error, traceback):
            self._hub.handle_system_error(kind, error, traceback)
        else:
            self._ordinary(context, kind, error, traceback)

    def leave(self) -> None:
        if vars(self._hub).get("handle_error") is self:
            del self._hub.handle_error
            if self._own is not None:
                self._hub.handle_error = self._own


class _LostHearer:
    """In place of `sys.unraisablehook`, while `heard` for the hub of the main thread.

    A client's `rfile` has a finaliser: in one of sixty ends by Ctrl-C amid connections that come
    and go, that was where it landed, and the server went on.
    """

    def __init__(self, hub: Any) -> None:
        self._hub = hub
        self._other = sys.unraisablehook
        sys.unraisablehook = self

    def __call__(self, lost: sys.UnraisableHookArgs) -> None:
        if is_interrupt(lost.exc_value, lost.exc_traceback):
            throw = self._hub.handle_system_error
            self._hub.loop.run_callback(throw, lost.exc_type, lost.exc_value, lost.exc_traceback)
        else:
            self._other(lost)

    def leave(self) -> None:
        if sys.unraisablehook is self:
            sys.unraisablehook = self._other


@contextlib.contextmanager
def heard() -> Iterator[None]:
    """Have what signal handlers raise in this hub, or in a greenlet of its, reach its main one.

    A hub does that with SystemExit and KeyboardInterrupt; others it only prints, unless it was
    asleep. That is gevent's documented way to say otherwise, see its `Hub.handle_error`. What
    comes up where nothing can be raised, in `__del__` or a callback of a weak reference, reaches it
    too.
    """
    if threading.get_native_id() != os.getpid():
        yield
        return
    hub: Any = get_hub()
    hearer = vars(hub).get("handle_error")
    if type(hearer) is not _Hearer:
        hearer = _Hearer(hub)
    if not hearer.users:
        hearer.lost = _LostHearer(hub)
    hearer.users += 1
    try:
        yield
    finally:
        hearer.users -= 1
        if not hearer.users:
            hearer.lost.leave()
            hearer.leave()
