"""What forked children and their parent tell each other without a word on any pipe."""

from __future__ import annotations

import mmap
import struct

_PAGE = 4096

# Four doubles, two bytes, and six more for the next doubles to be where the processor wants them:
# then who reads while the other writes sees the old or the new, and no half of both.
_MARK_SIZE = 40
_DOUBLES = _MARK_SIZE // 8
_LEFT, _EVICTED = 32, 33
_LAYOUT = struct.Struct("=4dBB6x")
_BLANK = bytes(_MARK_SIZE)


class Mark:
    """What one child tells, and is told.

    Not the exit status: another part of the program may have reaped the child. Not a pipe: that
    costs two descriptors and four system calls for one byte.
    """

    __slots__ = ("_bytes", "_doubles", "_free", "_number")

    def __init__(
        self, page: mmap.mmap, doubles: memoryview[float], number: int, free: list[Mark]
    ) -> None:
        self._free = free
        self._bytes = page
        self._doubles = doubles
        self._number = number

    def release(self) -> None:
        """In the parent, once the child is gone: it may be the next child's, when one is forked."""
        self._free.append(self)

    @property
    def silent_since(self) -> float:
        """When the child began to wait for its client's next request; 0.0: it does not."""
        return self._doubles[self._number * _DOUBLES]

    @silent_since.setter
    def silent_since(self, when: float) -> None:
        self._doubles[self._number * _DOUBLES] = when

    @property
    def drained_at(self) -> float:
        """When the drain began for which the parent sends the client away; 0.0: there is none."""
        return self._doubles[self._number * _DOUBLES + 1]

    @drained_at.setter
    def drained_at(self, when: float) -> None:
        self._doubles[self._number * _DOUBLES + 1] = when

    def leave(self, left: int, received: int, sent: int) -> None:
        """In the child, at its end: a byte for its parent, and how many it received and sent."""
        at = self._number * _DOUBLES + 2
        self._doubles[at], self._doubles[at + 1] = received, sent
        self._bytes[self._number * _MARK_SIZE + _LEFT] = left

    def read(self) -> tuple[int, int, int, float, bool]:
        """In the parent, once the child is gone: all that it has told.

        The byte that it left (0 if it was killed), the bytes that it received and sent, since when
        it was silent, and whether its client was evicted.
        """
        at = self._number * _MARK_SIZE
        silent_since, _, received, sent, left, evicted = _LAYOUT.unpack_from(self._bytes, at)
        return left, int(received), int(sent), silent_since, bool(evicted)

    def blank(self) -> None:
        """In the parent, before there is a child."""
        at = self._number * _MARK_SIZE
        self._bytes[at : at + _MARK_SIZE] = _BLANK

    @property
    def is_evicted(self) -> bool:
        """Whether the client is to make room for another: the one or the other of both says so."""
        return bool(self._bytes[self._number * _MARK_SIZE + _EVICTED])

    @is_evicted.setter
    def is_evicted(self, evicted: bool) -> None:
        self._bytes[self._number * _MARK_SIZE + _EVICTED] = evicted


class Marks:
    """Memory shared with children: a mark for each."""

    def __init__(self) -> None:
        self._free: list[Mark] = []

    def acquire(self) -> Mark:
        """A mark that says nothing, and is nobody else's until `release`."""
        if not self._free:
            page = mmap.mmap(-1, _PAGE)
            doubles = memoryview(page).cast("d")
            self._free += [
                Mark(page, doubles, number, self._free) for number in range(_PAGE // _MARK_SIZE)
            ]
        mark = self._free.pop()
        mark.blank()
        return mark
