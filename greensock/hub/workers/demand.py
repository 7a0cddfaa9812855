"""Telling threads and children whose clients are silent that their place is wanted."""

from __future__ import annotations

import os
import select
import weakref

from gevent import monkey

from greensock.hub.workers.children import close_descriptors


class Demand:
    """A descriptor that is readable while clients wait for a thread or child to be free.

    An eventfd: whoever lingers polls it beside its client, in whichever thread or child, and nobody
    has to look at a flag now and then. It is closed with the object.
    """

    def __init__(self) -> None:
        self._fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._waiting = False
        self._closer = weakref.finalize(self, close_descriptors, [self._fd])
        # At the end of the process, threads and children may still go by it.
        self._closer.atexit = False

    def fileno(self) -> int:
        return self._fd

    def close(self) -> None:
        self._closer()

    def set_waiting(self, waiting: bool) -> None:
        """Say whether clients wait now; only the serving greenlet does."""
        if waiting != self._waiting:
            self._waiting = waiting
            if waiting:
                os.eventfd_write(self._fd, 1)
            else:
                os.eventfd_read(self._fd)

    def is_waiting(self) -> bool:
        """Whether clients wait now; from any thread or child."""
        poller = monkey.get_original("select", "poll")()
        poller.register(self._fd, select.POLLIN)
        return bool(poller.poll(0))


class Vacancies:
    """How many children are to give up their place as soon as their client is silent.

    A semaphore: whichever child takes one of the vacancies gives up its own place for it. It is
    closed with the object.
    """

    def __init__(self) -> None:
        self._fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK | os.EFD_SEMAPHORE)
        self._closer = weakref.finalize(self, close_descriptors, [self._fd])
        # At the end of the process, threads and children may still go by it.
        self._closer.atexit = False

    def close(self) -> None:
        self._closer()

    def offer(self, count: int) -> None:
        os.eventfd_write(self._fd, count)

    def take(self) -> bool:
        """Take one if there is one; from any process."""
        try:
            os.eventfd_read(self._fd)
        except BlockingIOError:
            return False
        return True
