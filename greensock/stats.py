"""What a server has counted."""

from __future__ import annotations

import _thread
from time import monotonic
from typing import NamedTuple


class Stats(NamedTuple):
    """A snapshot of a server's counters.

    Now: `open` clients are those who were let in and are not done with, `parked` those of them that
    hold nothing but the lot's watcher, `busy` all others (their handler runs, or waits to). A
    datagram is none of these.

    Since the server was made: `accepted`, requests that get_request returned; of these `rejected`,
    turned away by a limit. `evicted`: parked clients closed to make room. `disconnects`: handlers
    that ended because their client had gone. `timeouts`: clients ended for their silence, of each
    kind as many as `timeouts_by_kind` says. `errors`: handlers that raised anything else. `stalls`:
    times that a handler has kept the hub from turning for longer than `stall_timeout`.
    `handshakes_failed`: clients who made no TLS handshake, or not in time. `bytes_received` and
    `bytes_sent`, where the server's `count_bytes` is True, else None: by TCP clients who have gone,
    and to them.

    The kinds of timeout: "idle" (`idle_timeout`), "handler" (one that the handler set itself, by
    its `timeout` say), "write" (`write_timeout`), "keepalive" (the other host answers no more).

    `uptime`: seconds for which `serve_forever` has been running; 0.0 while it is not.
    """

    accepted: int
    disconnects: int
    timeouts: int
    errors: int
    open: int
    parked: int
    busy: int
    rejected: int
    evicted: int
    stalls: int
    timeouts_by_kind: dict[str, int]
    uptime: float
    handshakes_failed: int
    bytes_received: int | None
    bytes_sent: int | None


# What a child may have to tell its parent, as bits of the byte that it leaves: counters, then kinds
# of timeout, as in `counted_in_child`. A turn counts each of them once at most. The lowest bit is
# the mixin's.
_COUNTERS_IN_CHILD = {"errors": 2, "disconnects": 4, "handshakes_failed": 8}
_TIMEOUTS_IN_CHILD = {"idle": 16, "handler": 32, "write": 64, "keepalive": 128}


class Counters:
    """The counters themselves.

    `accepted`, `rejected` and `evicted` are the serving thread's; the others count what may happen
    in any thread, and are changed by methods only.
    """

    __slots__ = (
        "_lock",
        "accepted",
        "begun",
        "bytes_received",
        "bytes_sent",
        "dedicated",
        "disconnects",
        "errors",
        "evicted",
        "handshakes_failed",
        "rejected",
        "stalls",
        "timeouts",
    )

    def __init__(self) -> None:
        self._lock = _thread.allocate_lock()
        self.accepted = 0
        self.rejected = 0
        self.evicted = 0
        #: Requests that are handled now, or wait to be, and are not in the lot.
        self.dedicated = 0
        self.disconnects = 0
        self.errors = 0
        self.handshakes_failed = 0
        self.bytes_received = 0
        self.bytes_sent = 0
        self.stalls = 0
        self.timeouts: dict[str, int] = {}
        #: When serve_forever began, by the monotonic clock, or None.
        self.begun: float | None = None

    def renew(self, dedicated: int) -> None:
        """In a child, of whose parent a thread may have held the lock: `dedicated` are here."""
        self._lock = _thread.allocate_lock()
        self.dedicated = dedicated

    def add(self, name: str) -> None:
        """Count one more of the counter `name`."""
        with self._lock:
            setattr(self, name, getattr(self, name) + 1)

    def add_timeout(self, kind: str) -> None:
        """Count a client who was ended for its silence."""
        with self._lock:
            self.timeouts[kind] = self.timeouts.get(kind, 0) + 1

    def add_bytes(self, received: int, sent: int) -> None:
        """Count what clients who have gone had sent and been sent."""
        if received or sent:
            with self._lock:
                self.bytes_received += received
                self.bytes_sent += sent

    def begin_dedicated(self) -> None:
        """Count in a request that is not in the lot."""
        with self._lock:
            self.dedicated += 1

    def end_dedicated(self) -> None:
        """Count it out."""
        with self._lock:
            self.dedicated -= 1

    def counted_in_child(self) -> tuple[int | None, ...]:
        """In a child: what it may count itself, for `since`."""
        return (
            self.errors,
            self.disconnects,
            self.handshakes_failed,
            *map(self.timeouts.get, _TIMEOUTS_IN_CHILD),
        )

    def since(self, before: tuple[int | None, ...]) -> int:
        """In a child: what has been counted since `before`, as the bits of one byte."""
        now = self.counted_in_child()
        if now == before:
            return 0
        bits = (*_COUNTERS_IN_CHILD.values(), *_TIMEOUTS_IN_CHILD.values())
        return sum(bit for bit, then, count in zip(bits, before, now, strict=True) if count != then)

    def add_child(self, bits: int) -> None:
        """In the parent: count what a child has."""
        if not bits:
            return
        for name, bit in _COUNTERS_IN_CHILD.items():
            if bits & bit:
                self.add(name)
        for kind, bit in _TIMEOUTS_IN_CHILD.items():
            if bits & bit:
                self.add_timeout(kind)

    def snapshot(self, in_lot: int, parked: int, counts_bytes: bool = False) -> Stats:
        """What is told of them, where the lot has `in_lot` clients, `parked` of them parked."""
        by_kind = dict(self.timeouts)
        clients = in_lot + self.dedicated
        begun = self.begun
        return Stats(
            accepted=self.accepted,
            disconnects=self.disconnects,
            timeouts=sum(by_kind.values()),
            errors=self.errors,
            open=clients,
            parked=parked,
            busy=clients - parked,
            rejected=self.rejected,
            evicted=self.evicted,
            stalls=self.stalls,
            handshakes_failed=self.handshakes_failed,
            bytes_received=self.bytes_received if counts_bytes else None,
            bytes_sent=self.bytes_sent if counts_bytes else None,
            timeouts_by_kind=by_kind,
            uptime=0.0 if begun is None else monotonic() - begun,
        )
