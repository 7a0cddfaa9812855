"""Clients as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from greensock.control.rows import BUSY_STATE, PARKED_STATE, WAITING_STATE, Row
from greensock.printable import address_in_words, printable

#: What rows can be sorted by, with the largest first but for names. What nobody knows comes last.
SORTS = ("peer", "state", "idle", "received", "sent", "where")

_STATE_ORDER = {BUSY_STATE: 0, WAITING_STATE: 1, PARKED_STATE: 2}
_HEAD = ("PEER", "STATE", "IDLE", "RECEIVED", "SENT", "WHERE")


def sort(rows: Sequence[Row], by: str) -> list[Row]:
    """The rows in the order of one of SORTS."""
    if by == "state":
        return sorted(rows, key=lambda row: (_STATE_ORDER[row.state], -(row.idle or 0)))
    if by in ("peer", "where"):
        return sorted(rows, key=lambda row: (not getattr(row, by), getattr(row, by)))
    return sorted(rows, key=lambda row: (getattr(row, by) is None, -(getattr(row, by) or 0)))


def headline(about: dict[str, Any]) -> str:
    """A server in two lines."""
    stats = about["stats"]
    address = about["address"]
    counters = ", ".join(
        f"{value} {printable(name)}"
        for name, value in stats.items()
        if isinstance(value, int) and name not in ("open", "parked", "busy")
    )
    return (
        f"{printable(about['class'])} with {printable(about['handler'])} on "
        f"{address_in_words(address)}, process {about['pid']}, up {duration(stats.get('uptime'))}\n"
        f"{stats['open']} open: {stats['parked']} parked, "
        f"{stats['open'] - stats['parked']} busy; {counters}"
    )


def lines(rows: Sequence[Row], width: int | None = None) -> list[str]:
    """A line for each row, below a head; cut off at `width` columns, None for no limit."""
    cells = [_HEAD, *map(_cells, rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(5)]
    return [
        (
            f"{row[0]:{widths[0]}}  {row[1]:{widths[1]}}  {row[2]:>{widths[2]}}  "
            f"{row[3]:>{widths[3]}}  {row[4]:>{widths[4]}}  {row[5]}"
        ).rstrip()[:width]
        for row in cells
    ]


def _cells(row: Row) -> tuple[str, str, str, str, str, str]:
    numbers = ("-" if number is None else str(number) for number in (row.received, row.sent))
    received, sent = numbers
    # Another process's, maybe another user's, and of clients that chose their own names.
    peer, state, where = (printable(str(each)) for each in (row.peer, row.state, row.where))
    return peer, state, duration(row.idle), received, sent, where


def duration(seconds: float | None) -> str:
    """Seconds as people read them: 0.25s, 12s, 4m05s, 2h07m, 3d01h."""
    if seconds is None:
        return "-"
    if seconds < 10:
        return f"{seconds:.2f}s"
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02}m"
    return f"{whole // 86400}d{whole % 86400 // 3600:02}h"
