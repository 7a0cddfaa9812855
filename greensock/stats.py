"""What a server has counted."""

from __future__ import annotations

from typing import NamedTuple


class Stats(NamedTuple):
    """A snapshot of a server's counters, all of them since it was made.

    `accepted`: requests that get_request returned. `disconnects`: handlers that ended because their
    client had gone. `timeouts`: clients ended for their silence. `errors`: handlers that raised
    anything else. `open`: clients in the lot's care now, parked or busy; `parked`: those of them
    that hold nothing but the lot's watcher.
    """

    accepted: int
    disconnects: int
    timeouts: int
    errors: int
    open: int
    parked: int


class Counters:
    """The counters themselves; threads count too, so a sum may rarely miss one."""

    __slots__ = ("accepted", "disconnects", "errors", "timeouts")

    def __init__(self) -> None:
        self.accepted = 0
        self.disconnects = 0
        self.timeouts = 0
        self.errors = 0
