"""The end of a loop, and calls into it from other threads, of which one must not meet the other.

Fact (measured): on libuv a call that comes while the loop's own thread destroys it starts a handle
that is freed already: one in 250 processes crashed so at its end. A loop that is gone refuses.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import Any

from gevent import monkey

# A signal's handler may call while its thread does.
_new_lock: Any = monkey.get_original("_thread", "RLock")

# Seconds that a call waits for its turn. Whoever has it needs microseconds, unless its thread was
# halted in them for good; see `process_end`.
_PATIENCE = 0.1

_lock: Any = _new_lock()

#: Loops that their threads are destroying.
_ending: set[Any] = set()


def _forget() -> None:
    global _lock
    _lock = _new_lock()
    _ending.clear()


os.register_at_fork(after_in_child=_forget)


def destroy(hub: Any) -> None:
    """Destroy a hub of this thread, and its loop."""
    loop = hub.loop
    with _lock:
        _ending.add(loop)
    try:
        hub.destroy(destroy_loop=True)
    finally:
        _ending.discard(loop)


def call_soon(loop: Any, function: Callable[..., Any], *args: Any) -> None:
    """Have a loop of any thread call `function`; nothing if it has ended, or is about to."""
    if not _lock.acquire(timeout=_PATIENCE):
        return
    try:
        if loop is not None and loop not in _ending:
            # Each kind has an error of its own for a loop that is gone.
            with contextlib.suppress(Exception):
                loop.run_callback_threadsafe(function, *args)
    finally:
        _lock.release()
