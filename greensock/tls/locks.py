"""Locks around the calls into OpenSSL, which give up the interpreter's lock.

Nothing of OpenSSL's connections may be called by two threads at once, and any native thread may
write to a client that another, or a greenlet, serves. CPython's own SSLSocket has no lock before
3.13: two threads that write to one break its stream, or the process.
"""

from __future__ import annotations

import os
from typing import Any

from gevent import monkey
from gevent.exceptions import BlockingSwitchOutError

from greensock.hub.waiting import acquire

# One lock for each of thousands of clients would be most of what they cost beside OpenSSL; a call
# holds its lock for microseconds. Arbitrary: far more than threads that run at once.
_LOCKS = 64
#: The lock of a request is `locks[id(request) >> SHIFT & MASK]`: objects of this size are at
#: multiples of 16.
locks: list[Any] = [monkey.get_original("_thread", "RLock")() for _ in range(_LOCKS)]
SHIFT = 4
MASK = _LOCKS - 1

# Seconds for which a hub stands still for another thread's call at a time. A handshake may take
# longer, where the program chooses a certificate.
_PATIENCE = 0.002


def _acquire_all() -> None:
    # At a fork, no thread is to be in OpenSSL: it would hold locks of its for ever in the child.
    # That is 3 us.
    for lock in locks:
        lock.acquire()


def _release_all() -> None:
    for lock in locks:
        lock.release()


os.register_at_fork(before=_acquire_all, after_in_parent=_release_all, after_in_child=_release_all)


def take_lock(request: Any, *, insists: bool = False) -> Any:
    """Take the lock of a request; return it, for the caller to release.

    A callback of the program's, amid a handshake, may come back here: so it is a re-entrant one.

    Raises:
        BlockingSwitchOutError: as `wait_for`, but not if it insists.
    """
    lock = locks[id(request) >> SHIFT & MASK]
    if not lock.acquire(False):
        try:
            wait_for(lock)
        except BlockingSwitchOutError:
            if not insists:
                raise
            lock.acquire()
    return lock


def wait_for(lock: Any) -> None:
    """Take a lock that another thread has.

    Raises:
        BlockingSwitchOutError: called by a hub itself, and the other's call takes long.
    """
    acquire(lock, _PATIENCE)
