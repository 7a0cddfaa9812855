"""Signal handlers that may block, in a process whose threads are greenlets.

Python calls a signal's handler wherever the main native thread happens to be: in a process that
gevent has patched that is the hub, which cannot block, or whatever greenlet runs just then, which
its exception would end. For the program all that is its main thread, which the handler interrupts,
which stands still meanwhile, and in which its exception is raised. So here the handler has a
greenlet of its own, which stands in for the main one.

- What was interrupted goes on as soon as the handler blocks, and not before: to it, the handler is
  over then. Nobody else has had a turn, which code between two of its waits counts on.
- The main greenlet, woken meanwhile, waits on until the handler is done.
- What the handler raises is raised in the main greenlet, where it waits.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType
from typing import Any

import gevent
from gevent import getcurrent
from gevent._hub_local import get_hub_if_exists, set_default_hub_class
from gevent.event import Event
from gevent.hub import Hub

from greensock.hub.lifetime import StandIn

# Seconds between two looks of pause(), which keep the loop from concluding that nothing can happen.
_PAUSE = 3600.0

# Seconds that the main greenlet has for an exception before what was interrupted for it goes on.
_TURN_OF_MAIN = 0.05


class ProgramHub(Hub):  # type: ignore[misc]
    """The hub of a program whose main greenlet stands still while its signal handlers run."""

    #: Those that run now.
    handlers: frozenset[StandIn] = frozenset()
    _holds_main = False
    #: Keeps the loop from concluding that nothing can ever happen: a signal can.
    _expects_signals: Any = None

    def switch(self) -> Any:
        """Leave the greenlet that calls this until it is woken."""
        current = getcurrent()
        if type(current) is StandIn:
            return _leave(current, self)
        if current is not self.parent:
            return Hub.switch(self)
        if self._expects_signals is None and _handled:
            self._expects_signals = self.loop.async_()
            self._expects_signals.start(_do_nothing)
        woken_by = Hub.switch(self)
        while self.handlers:
            self._holds_main = True
            try:
                Hub.switch(self)
            finally:
                self._holds_main = False
        return woken_by

    def handler_ended(self, handler: StandIn) -> None:
        self.handlers -= {handler}
        if self._holds_main and not self.handlers:
            self.loop.run_callback(self._let_main_go)

    def _let_main_go(self) -> None:
        if self._holds_main:
            self.parent.switch()


def _leave(handler: StandIn, hub: Any) -> Any:
    """Leave a handler that blocks, for what it has interrupted."""
    interrupted, handler.interrupted = handler.interrupted, None
    # What it returns to at its end: the other would be woken where it waits for something else.
    handler.parent = hub
    return Hub.switch(hub) if interrupted in (None, hub) else interrupted.switch()


class Handler:
    """What the interpreter calls for a signal, in place of the program's own function."""

    def __init__(self, function: Callable[[int, FrameType | None], object]) -> None:
        self.function = function

    def __call__(self, number: int, frame: FrameType | None) -> None:
        hub = get_hub_if_exists()
        current = getcurrent()
        if hub is None or current is hub.parent:
            self.function(number, frame)
            _wake_paused()
            return
        # In a child that is the greenlet of its handler, and never the parent's main one.
        main = hub.parent
        handler: StandIn = StandIn(
            lambda: self._run(handler, hub, number, main.gr_frame or frame), current
        )
        handler.main, handler.interrupted = main, current
        if main.gr_context is not None:
            handler.gr_context = main.gr_context.copy()
        if isinstance(hub, ProgramHub):
            hub.handlers |= {handler}
        if current is hub:
            handler.switch()
        else:
            # For a handler that leaves for the hub by a way of its own.
            again = hub.loop.run_callback(current.switch)
            handler.switch()
            again.stop()
        if not handler.dead:
            handler.interrupted, handler.parent = None, hub
            return
        # Program's code that was interrupted might compute for ever.
        at_once = current is not hub and not _is_of_core(frame)
        _done(handler, hub, current if at_once else None)

    def _run(self, handler: StandIn, hub: Any, number: int, frame: FrameType | None) -> None:
        try:
            self.function(number, frame)
        except BaseException as error:  # noqa: BLE001 - raised where the program would have it
            # Without this frame.
            traceback = error.__traceback__ and error.__traceback__.tb_next
            handler.error = type(error), error, traceback
        if handler.interrupted is None:
            _done(handler, hub, None)


def _done(handler: StandIn, hub: Any, interrupted: Any) -> None:
    """A handler is over: raise what it has raised, and let the main greenlet go.

    Before the hub turns where something is `interrupted` for it.
    """
    _wake_paused()
    error = handler.error
    if error is not None and interrupted is None:
        hub.loop.run_callback(handler.main.throw, *error)
    if isinstance(hub, ProgramHub):
        hub.handler_ended(handler)
    if error is not None and interrupted is not None:
        # Not at once: as the program ends it lets others have a turn, and this one might compute
        # for ever.
        again = hub.loop.timer(_TURN_OF_MAIN)
        again.start(interrupted.switch)
        try:
            handler.main.throw(*error)
        finally:
            again.stop()
            again.close()


def _is_of_core(frame: FrameType | None) -> bool:
    """Whether that is code which counts on nobody else's turn between two of its waits."""
    module = "" if frame is None else frame.f_globals.get("__name__", "")
    return module.partition(".")[0] in ("greensock", "gevent")


def _do_nothing() -> None:
    """Never called."""


#: The signals that have a handler of the program's.
_handled: set[int] = set()

_paused: set[Event] = set()


def _wake_paused() -> None:
    for event in list(_paused):
        event.set()


def _pause() -> None:
    """signal.pause() for the calling greenlet: the others go on."""
    came = Event()
    _paused.add(came)
    try:
        while not came.wait(_PAUSE):
            pass
    finally:
        _paused.discard(came)


def _own(handler: Any) -> Any:
    return handler.function if isinstance(handler, Handler) else handler


def let_handlers_block() -> None:
    """Have signal handlers that are set from now on run as described above, for good.

    In a process that gevent has patched, in its main thread. Idempotent.
    """
    plain_signal, plain_getsignal = signal.signal, signal.getsignal
    if getattr(plain_signal, "lets_handlers_block", False):
        return

    def new_signal(signalnum: int, handler: Any) -> Any:
        """signal.signal, whose handler may block and raise as in the main thread."""
        own = _own(handler)
        if callable(own) and own is not signal.default_int_handler:
            _handled.add(signalnum)
        else:
            _handled.discard(signalnum)
        return _own(plain_signal(signalnum, Handler(own) if callable(own) else own))

    def new_getsignal(signalnum: int) -> Any:
        """signal.getsignal: the handler as the program has set it."""
        return _own(plain_getsignal(signalnum))

    new_signal.lets_handlers_block = True  # type: ignore[attr-defined]
    hub = get_hub_if_exists()
    if type(hub) is Hub:
        hub.__class__ = ProgramHub
    set_default_hub_class(ProgramHub)
    for name, new in (("signal", new_signal), ("getsignal", new_getsignal), ("pause", _pause)):
        new.__name__ = new.__qualname__ = name
        setattr(signal, name, new)
    if plain_getsignal(signal.SIGINT) is signal.default_int_handler:
        # Ctrl-C too: a thread of the program's that it ends instead tells nobody.
        new_signal(signal.SIGINT, signal.default_int_handler)


def wait_for_handlers() -> None:
    """In the main greenlet: wait until no handler runs any more.

    Raises:
        BaseException: what one of them raised.
    """
    hub = get_hub_if_exists()
    while isinstance(hub, ProgramHub) and hub.handlers:
        gevent.sleep(0)
