"""For how long parked clients may be silent.

Deadlines are of the monotonic clock, as the loop's timers are. The loop's own `now()` is the wall
clock under libev: a clock that is set would end clients, or keep them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from time import monotonic
from typing import Any

from greensock.hub.waiting import new_timer

# By how much a timeout is rounded up where there are too many of them: up to a 64th.
_STEPS = 128


def rounded(timeout: float) -> float:
    """A timeout, or one that is a little longer and the same for many."""
    mantissa, exponent = math.frexp(timeout)
    return math.ldexp(math.ceil(mantissa * _STEPS) / _STEPS, exponent)


class Silence:
    """The clients parked with one timeout, longest silent first, and one timer for all of them.

    All share the timeout, so the order of parking is the order of deadlines: nothing is searched
    or sorted. The timer is not re-armed at every parking (0.06 us each) but runs to the deadline of
    the client that was the longest silent when it was armed, and then looks again.
    """

    def __init__(self, timeout: float, on_expired: Callable[[Any], None]) -> None:
        self._timeout = timeout
        self._on_expired = on_expired
        self._deadlines: dict[Any, float] = {}
        self._timer = new_timer(timeout)

    def add(self, client: Any) -> None:
        self._deadlines[client] = monotonic() + self._timeout
        if not self._timer.active:
            self._arm(self._timeout)

    def discard(self, client: Any) -> None:
        del self._deadlines[client]

    def __contains__(self, client: Any) -> bool:
        return client in self._deadlines

    def is_empty(self) -> bool:
        return not self._deadlines

    def first(self) -> tuple[Any, float] | None:
        """The longest silent client and its deadline."""
        return next(iter(self._deadlines.items()), None)

    def close(self) -> None:
        self._timer.stop()
        self._timer.close()
        self._deadlines.clear()

    def _arm(self, delay: float) -> None:
        self._timer.close()
        self._timer = new_timer(delay)
        self._timer.start(self._expire)

    def _expire(self) -> None:
        self._timer.stop()
        now = monotonic()
        while self._deadlines:
            client, deadline = next(iter(self._deadlines.items()))
            if deadline > now:
                self._arm(deadline - now)
                return
            self.discard(client)
            self._on_expired(client)


def drop_empty(silences: dict[float, Silence]) -> None:
    """Close those in which nobody is, and take them out."""
    for timeout, silence in list(silences.items()):
        if silence.is_empty():
            silence.close()
            del silences[timeout]
