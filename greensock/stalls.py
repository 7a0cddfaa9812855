"""Naming the handler that keeps everybody else waiting."""

from __future__ import annotations

import functools
import logging
from types import FrameType
from typing import Any

from greensock import whereabouts
from greensock.hub.stall_watch import StallWatch
from greensock.printable import printable

_log = logging.getLogger("greensock.stalls")


def watch(server: Any, seconds: float) -> StallWatch | None:
    """Watch this hub for stalls; None, with one WARNING, if there is no thread to be had."""
    try:
        return StallWatch(seconds, functools.partial(report, server))
    except RuntimeError as error:
        _log.warning("stalls cannot be watched for: %s", error)
        return None


def report(server: Any, frame: FrameType, seconds: float) -> None:
    """One WARNING with client, handler class, file and line; from a thread beside the hub's."""
    server._counters.add("stalls")
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
