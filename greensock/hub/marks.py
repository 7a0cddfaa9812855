"""What forked children and their parent tell each other without a word on any pipe."""

from __future__ import annotations

import mmap

_PAGE = 4096

# Four doubles, two bytes, and six more for the next doubles to be where the processor wants them:
# then who reads while the other writes sees the old or the new, and no half of both.
_MARK_SIZE = 40
_DOUBLES = _MARK_SIZE // 8
_LEFT, _EVICTED = 32, 33


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

    @property
    def exchanged(self) -> tuple[int, int]:
        """Bytes that the child has received and sent, told at its end."""
        at = self._number * _DOUBLES + 2
        return int(self._doubles[at]), int(self._doubles[at + 1])

    @exchanged.setter
    def exchanged(self, received_and_sent: tuple[int, int]) -> None:
        at = self._number * _DOUBLES + 2
        self._doubles[at], self._doubles[at + 1] = received_and_sent

    @property
    def left(self) -> int:
        """The byte that the child leaves at its end; 0 before."""
        return self._bytes[self._number * _MARK_SIZE + _LEFT]

    @left.setter
    def left(self, value: int) -> None:
        self._bytes[self._number * _MARK_SIZE + _LEFT] = value

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
        mark.left = 0
        mark.is_evicted = False
        mark.silent_since = mark.drained_at = 0.0
        mark.exchanged = (0, 0)
        return mark
