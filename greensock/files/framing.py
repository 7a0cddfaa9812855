"""Where a request ends, for the handlers of which that is known.

May be imported by anyone; imports nothing of greensock.
"""

from __future__ import annotations

import re
from collections.abc import Callable

#: Says whether these bytes, from there on, are all of a request that its handler will wait for.
#: "From there on": a slice a request would make each of many requests in one buffer copy the rest.
IsComplete = Callable[[bytes, int], bool]

#: Bytes received for a request before its end was seen; with these its handler begins, and judges
#: for itself. As asyncio's limit of a line.
MOST_UNFINISHED = 65536


def is_something(data: bytes, start: int) -> bool:
    """For requests of which nothing is known: their handler begins at their first byte."""
    return len(data) > start


def ends_with(terminator: bytes, most: int | None) -> IsComplete:
    """For requests that end with `terminator`, or are `most` bytes (None: no fewer than 64 KiB)."""
    most = MOST_UNFINISHED if most is None else min(most, MOST_UNFINISHED)

    def is_complete(data: bytes, start: int) -> bool:
        return data.find(terminator, start) >= 0 or len(data) - start > most

    return is_complete


# A request line after which http.server reads on; to any other it answers with an error at once.
_REQUEST_LINE = re.compile(rb"\s*\S+\s+\S+\s+HTTP/[01]\.[0-9]{1,10}\s*\n")

# Lines of a head that http.server refuses, whatever follows: one more than its 100 of a header, and
# the request line.
_TOO_MANY_LINES = 102


def has_complete_head(data: bytes, start: int) -> bool:
    """For HTTP: whether the head is all there.

    What can never be a head is answered with an error at once: nobody need wait for more.
    """
    if data.find(b"\n\r\n", start) >= 0 or len(data) - start > MOST_UNFINISHED:
        return True
    end = data.find(b"\n", start)
    return end >= 0 and (
        _REQUEST_LINE.match(data, start, end + 1) is None
        or data.find(b"\n\n", end) >= 0
        or data.count(b"\n", start) >= _TOO_MANY_LINES
    )


def has_begun(data: bytes, start: int) -> bool:
    """For requests whose handler is to judge for itself."""
    return len(data) > start


def check_terminator(terminator: object) -> None:
    """Look at a handler class's `request_terminator`.

    Raises:
        ValueError: it is neither bytes, at least one of them, nor None.
    """
    if terminator is not None and not (isinstance(terminator, bytes) and terminator):
        raise ValueError(f"request_terminator must be bytes or None, not {terminator!r}")
