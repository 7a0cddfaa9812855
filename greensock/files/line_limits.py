"""Readers that a line without end cannot fill the memory through."""

from __future__ import annotations

import functools
from typing import Any

from greensock.files.streams import FIRST_READ_SIZE, SocketReader, Source


class LineTooLong(ValueError):
    """A client has sent a line that is longer than `max_line_size`; rfile.readline() raises it.

    The bytes read so far are gone, so that there is nothing sensible to read any more.
    """


class LimitedReader(SocketReader):
    """A SocketReader whose lines have a greatest size, `max_line_size` bytes.

    Only a line that does not come out of one read is measured: the others are smaller than that
    read. So a limit costs a usual line nothing.
    """

    __slots__ = ()

    max_line_size = 0

    def _read_line_in_parts(self, sock: Source, size: int) -> bytes:
        if size >= 0:
            return SocketReader._read_line_in_parts(self, sock, size)
        return self._checked(SocketReader._read_line_in_parts(self, sock, self.max_line_size + 1))

    def _checked(self, line: bytes) -> bytes:
        if len(line) > self.max_line_size:
            raise LineTooLong(f"a line of more than {self.max_line_size} bytes (max_line_size)")
        return line


class ShortLineReader(LimitedReader):
    """One whose limit is smaller than what a single read may give."""

    __slots__ = ()

    def readline(self, size: int | None = -1, /) -> bytes:
        if size is not None and size >= 0:
            return SocketReader.readline(self, size)
        return self._checked(SocketReader.readline(self, self.max_line_size + 1))


# Typed: True is no 1 here.
@functools.lru_cache(maxsize=64, typed=True)
def reader_class(max_line_size: Any) -> type[SocketReader]:
    """The reader for lines of at most `max_line_size` bytes; None: of any size.

    Raises:
        ValueError: that is neither None nor a positive integer.
    """
    if max_line_size is None:
        return SocketReader
    if isinstance(max_line_size, bool) or not (
        isinstance(max_line_size, int) and max_line_size > 0
    ):
        raise ValueError(f"max_line_size must be a positive integer or None, not {max_line_size!r}")
    base = ShortLineReader if max_line_size < FIRST_READ_SIZE else LimitedReader
    return type(base.__name__, (base,), {"__slots__": (), "max_line_size": max_line_size})
