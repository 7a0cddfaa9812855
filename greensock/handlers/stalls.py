"""Naming the handler that keeps everybody else waiting."""

from __future__ import annotations

import functools
import logging
from types import FrameType

from greensock.handlers import whereabouts
from greensock.hub.stall_watch import StallWatch
from greensock.printable import printable
from greensock.settings.limits import Limits
from greensock.stats import Counters

_log = logging.getLogger("greensock.stalls")


class Stalls:
    """The watch for stalls during one run of `serve_forever`."""

    def __init__(self, limits: Limits, counters: Counters) -> None:
        self._limits = limits
        self._counters = counters
        self._seconds: float | None = None
        self._watch: StallWatch | None = None

    def read_settings(self) -> None:
        """Watch by the `stall_timeout` that holds now, or not at all."""
        seconds = self._limits.stall_timeout
        if seconds != self._seconds:
            self.close()
            if seconds is not None:
                self._watch = watch(self._counters, seconds)
            self._seconds = seconds

    def close(self) -> None:
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.close()

    def stay_behind(self) -> None:
        """In a child: the thread that watches is not here."""
        watch, self._watch, self._seconds = self._watch, None, None
        if watch is not None:
            watch.stop_counting()


def watch(counters: Counters, seconds: float) -> StallWatch | None:
    """Watch this hub for stalls; None, with one WARNING, if there is no thread to be had."""
    try:
        return StallWatch(seconds, functools.partial(report, counters))
    except RuntimeError as error:
        _log.warning("stalls cannot be watched for: %s", error)
        return None


def report(counters: Counters, frame: FrameType, seconds: float) -> None:
    """One WARNING with client, handler class, file and line; from a thread beside the hub's."""
    counters.add("stalls")
    found = whereabouts.find(frame)
    if found.handler is None:
        _log.warning(
            "all clients have been waiting for %.2f s, for %s", seconds, printable(found.line)
        )
        return
    _log.warning(
        "all clients have been waiting for %.2f s, for %s of %r: %s",
        seconds,
        printable(type(found.handler).__qualname__),
        found.handler.client_address,
        printable(found.line),
    )
