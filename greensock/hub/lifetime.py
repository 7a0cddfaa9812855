"""Who ends a hub.

Facts (measured): a native thread that used gevent leaves two descriptors and 18 KiB behind for
ever unless its hub is destroyed in it; greenlets that are still blocked when their thread ends
vanish without running their `finally`. The main thread's hub is the program's and is left alone.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from typing import Any

import gevent
from gevent import get_hub, getcurrent, monkey
from gevent._hub_local import get_hub_if_exists
from gevent.hub import Hub
from greenlet import greenlet

from greensock.hub import loop_ends, process_end, signal_wakeup
from greensock.hub.fork_gate import fork_gate

# gevent 26.9 imports what these settings name lazily, under the import lock: two threads of a
# patched process that each make their first hub at the same time deadlock.
_LAZY_SETTINGS = ("loop", "format_context", "resolver", "threadpool")

# On libuv, a process whose parent has ended a hub in any thread has its loop already, which was
# made for that, and shares its epoll with the parent and with each of its other children.
_is_forked = False


def _note_fork() -> None:
    global _is_forked
    _is_forked = True


os.register_at_fork(after_in_child=_note_fork)

# Seconds between looks for a signal where only Python code would notice it (see below).
_SIGNAL_CHECK_INTERVAL = 0.2


class StandIn(greenlet):  # type: ignore[misc]
    """The greenlet that one call of a signal handler runs in; see `hub.signals.handlers`."""

    #: The greenlet that it stands in for.
    main: Any
    #: What goes on once the handler blocks; None: that goes on already.
    interrupted: Any = None
    #: What the handler has raised, for `throw`.
    error: Any = None


def current_greenlet() -> Any:
    """The greenlet that calls this; for a signal handler's, the one that it stands in for."""
    current = getcurrent()
    return current.main if type(current) is StandIn else current


def is_hub(greenlet: Any) -> bool:
    """Whether a greenlet is the hub of this thread, for which nothing else can run."""
    return greenlet is get_hub_if_exists()


def has_hub() -> bool:
    """Whether this thread has a hub already."""
    return get_hub_if_exists() is not None


def threads_are_greenlets() -> bool:
    """Whether `threading.Thread` starts greenlets here, because gevent patched it."""
    return bool(monkey.is_module_patched("threading"))


def in_main_thread() -> bool:
    """Whether this is the process's main native thread, patched or not.

    `threading` cannot tell: patched, its idents are those of greenlets. The kernel can: the id of
    a process is that of its first thread.
    """
    return threading.get_native_id() == os.getpid()


def is_main_program() -> bool:
    """Whether this is what the process began with, and no other thread or greenlet."""
    return in_main_thread() and getcurrent().parent is None


def _load_lazy_settings() -> None:
    if threads_are_greenlets():
        with fork_gate:
            for setting in _LAZY_SETTINGS:
                getattr(gevent.config, setting)


# At import where the process is patched already, for hubs that others make; else when the first
# server serves: 25 modules that an unpatched process never needs.
_load_lazy_settings()


# Hubs that are not to be destroyed, see `spare_hub`.
_spared: set[Any] = set()


def spare_hub() -> None:
    """Have the hub that this thread borrows not be destroyed: a greenlet lets nobody end it.

    On libuv that would take for ever. It ends with its thread, and leaves two descriptors behind.
    """
    _spared.add(get_hub())


@contextlib.contextmanager
def borrowed_hub() -> Iterator[bool]:
    """Hold this thread's hub; at the end destroy it if it was made here and is not the main one's.

    Yields whether it will be destroyed.

    The block must end with no greenlet of the hub alive: on libuv, `destroy` then never returns.
    """
    main = in_main_thread()
    made_here = not has_hub()
    if not main:
        process_end.wait_for_it()
    with fork_gate:
        _load_lazy_settings()
        hub = get_hub()
        if made_here and main and _is_forked:
            hub.loop.reinit()
    alarm: Any = None
    if main and not hub.loop.default:
        # gevent was first imported in another thread. Signals are noticed by the default loop and
        # by Python code only, and an idle server runs none: without this, Ctrl-C is never seen.
        alarm = hub.loop.timer(_SIGNAL_CHECK_INTERVAL, _SIGNAL_CHECK_INTERVAL, ref=False)
        alarm.start(lambda: None)
    wakes = main and signal_wakeup.begin()
    if not main:
        process_end.serving.add(hub)
    try:
        yield made_here and not main
    finally:
        if wakes:
            signal_wakeup.end()
        if alarm is not None:
            alarm.stop()
            alarm.close()
        if hub in _spared:
            _spared.discard(hub)
        elif made_here and not main:
            loop_ends.destroy(hub)
        process_end.serving.discard(hub)


def end_hub_here() -> None:
    """End the hub of this native thread, in which no greenlet lives any more."""
    loop_ends.destroy(get_hub())


def print_no_interrupts() -> None:
    """Have no hub of this process print a KeyboardInterrupt that it hands to the main greenlet.

    It is printed there, if nobody catches it; printed by the hub too, every Ctrl-C of a program
    that handles it would be a traceback. For the process that is a program's alone.
    """
    Hub.NOT_ERROR = (*Hub.NOT_ERROR, KeyboardInterrupt)
