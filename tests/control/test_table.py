"""Rows as text, and their order."""

import pytest

from greensock.control import table
from greensock.control.rows import Row

PARKED = Row("b:1", "parked", 12.0, 5, 500, "")
BUSY = Row("c:1", "busy", 0.25, 50, 50, "app.py:3 in Handler.handle")
UNIX = Row("a", "waiting", None, None, None, "")


@pytest.mark.parametrize(
    ("by", "order"),
    [
        ("peer", "abc"),
        ("state", "cab"),
        ("idle", "bca"),
        ("received", "cba"),
        ("sent", "bca"),
        ("where", "cba"),
    ],
)
def test_order(by: str, order: str) -> None:
    assert "".join(row.peer[0] for row in table.sort([PARKED, BUSY, UNIX], by)) == order


def test_columns_are_as_wide_as_needed() -> None:
    assert table.lines([PARKED, BUSY, UNIX]) == [
        "PEER  STATE     IDLE  RECEIVED  SENT  WHERE",
        "b:1   parked     12s         5   500",
        "c:1   busy     0.25s        50    50  app.py:3 in Handler.handle",
        "a     waiting      -         -     -",
    ]
    assert max(map(len, table.lines([BUSY], width=20))) == 20


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "-"), (0.0, "0.00s"), (9.994, "9.99s"), (59.9, "59s"), (245, "4m05s"), (7620, "2h07m"),
     (262800, "3d01h")],
)  # fmt: skip
def test_durations(seconds: float | None, text: str) -> None:
    assert table.duration(seconds) == text
