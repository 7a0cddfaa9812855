# When a request should start, and from when it is timed.
#
# A closed loop asks again when it is answered, so a server that stalls is asked less often just
# while it is slow: the stall all but vanishes from the percentiles ("coordinated omission").
# Locust's constant_throughput has the same flaw, since it forgets what it could not start in time.
# With 1,000 requests/s and a server stopped for 1 s of 6.7, it showed p90 4 ms; the truth is 350.
#
# What this means here:
# - A schedule never slips: the next arrival follows from the last intended one, not from the
#   moment the user came back. Debt is worked off without a pause.
# - A request that could not start when it should (its user was still busy) is timed from when it
#   should have started. One that could is timed from its send: gevent's timers fire 0.02-1.4 ms
#   late, which would swamp an answer that takes 0.15 ms.
# - Users begin at a random phase. Locust spawns them in batches; in step, 100 users at 10/s each
#   would arrive as 10 bursts a second (p50 1.93 ms against 0.55 ms).
#
# All kinds of arrivals are one rule: draw a gap in units of expected arrivals (1, or an
# exponential variate of mean 1), and find the time at which the integral of the rate has grown
# by it.
"""Arrival schedules without coordinated omission. Pure: imports neither locust nor gevent."""

from __future__ import annotations

import random as random_module
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import inf, isfinite, sqrt
from typing import Any

#: Seconds that a user waits whose schedule has no more arrivals: until the end of the test. (Three
#: years; an infinite timer is not one that gevent's loops can take.)
NEVER = 1e8

_DURATION_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class Stage:
    """A stretch of a schedule: the rate goes linearly from `rate` to `end_rate` (requests/s).

    end_rate None means a constant rate. duration is in seconds.
    """

    duration: float
    rate: float
    end_rate: float | None = None

    def __post_init__(self) -> None:
        if not (isfinite(self.duration) and self.duration > 0):
            raise ValueError(f"duration must be a positive number, not {self.duration!r}")
        for rate in (self.rate, self.end_rate):
            if rate is not None and not (isfinite(rate) and rate >= 0):
                raise ValueError(f"rate must be a number of at least 0, not {rate!r}")

    @property
    def last_rate(self) -> float:
        return self.rate if self.end_rate is None else self.end_rate

    def arrivals(self, seconds: float) -> float:
        """How many requests are due in the first `seconds` of the stage."""
        slope = (self.last_rate - self.rate) / self.duration
        return self.rate * seconds + slope * seconds * seconds / 2

    def seconds(self, arrivals: float) -> float:
        """The inverse: after how many seconds so many requests are due."""
        if arrivals <= 0:
            return 0.0
        slope = (self.last_rate - self.rate) / self.duration
        # Not the textbook's root, which divides by the slope: a constant rate has none.
        root = sqrt(max(0.0, self.rate * self.rate + 2 * arrivals * slope))
        if self.rate + root:
            return 2 * arrivals / (self.rate + root)
        return 0.0 if slope else inf


def parse_stages(text: str) -> tuple[Stage, ...]:
    """Read "10s:1000,1m:1000-4000": ten seconds at 1,000/s, then a minute from 1,000 to 4,000/s.

    Units of a duration: ms, s (also when there is none), m, h. After the last stage its rate stays.

    Raises:
        ValueError: text is not of that form.
    """
    stages = []
    for part in text.split(","):
        match = re.fullmatch(
            r"\s*(?P<number>[\d.]+)(?P<unit>ms|s|m|h|)\s*:"
            r"\s*(?P<rate>[\d.]+)\s*(?:-\s*(?P<end_rate>[\d.]+)\s*)?",
            part,
        )
        if match is None:
            raise ValueError(f"stages must look like 10s:1000,10s:1000-4000, not {text!r}")
        try:
            duration = float(match["number"]) * _DURATION_UNITS[match["unit"] or "s"]
            end_rate = None if match["end_rate"] is None else float(match["end_rate"])
            stages.append(Stage(duration, float(match["rate"]), end_rate))
        except ValueError as error:
            raise ValueError(f"stages must look like 10s:1000,10s:1000-4000: {error}") from None
    return tuple(stages)


class RateCurve:
    """Requests/s over time, from 0 on: the stages one after the other, then the last rate."""

    def __init__(self, stages: Sequence[Stage]) -> None:
        self._stages = tuple(stages)
        self._last_rate = self._stages[-1].last_rate

    def arrivals(self, seconds: float) -> float:
        """How many requests are due between 0 and `seconds`."""
        due = 0.0
        for stage in self._stages:
            if seconds <= stage.duration:
                return due + stage.arrivals(seconds)
            due += stage.arrivals(stage.duration)
            seconds -= stage.duration
        return due + self._last_rate * seconds

    def seconds(self, arrivals: float) -> float:
        """When so many requests are due; inf when they never will be."""
        passed = 0.0
        for stage in self._stages:
            whole = stage.arrivals(stage.duration)
            if arrivals <= whole and whole > 0:
                return passed + min(stage.seconds(arrivals), stage.duration)
            arrivals -= whole
            passed += stage.duration
        return passed + arrivals / self._last_rate if self._last_rate else inf


class Schedule:
    """Arrivals at a rate; a locust user class has it as its `wait_time`.

        class EchoUser(TCPUser):
            wait_time = Schedule(rate=20)                       # each user 20 times a second
            wait_time = Schedule(rate=20, arrivals="poisson")   # 20 a second on average
            wait_time = Schedule(stages=[Stage(10, 5), Stage(60, 5, 50)])

    Each user gets arrivals of its own. Before each wait ends, `user.due` is set: None, or the
    time.perf_counter() reading at which the coming task should have started when it is late.
    A SocketUser's client times the task's first request from there; other users may do the same.

    Args:
        rate: arrivals/s; 0 is a closed loop, each task as soon as the last one is done.
        arrivals: "constant" (evenly spaced) or "poisson" (independent of each other).
        stages: how the rate changes, from the start of the test; rate is then not used.
        shared_by: by how many users the rate is shared: a number, or a function of the user that
            returns it (asked at each arrival, so users may come and go).
        random: source of phases and gaps; give a seeded one for a repeatable test.
        clock: seconds that never go back.

    Raises:
        ValueError: a rate is negative, or arrivals is neither word.
    """

    def __init__(
        self,
        rate: float = 0.0,
        *,
        arrivals: str = "constant",
        stages: Sequence[Stage] = (),
        shared_by: int | Callable[[Any], int] = 1,
        random: random_module.Random | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._random = random or random_module.Random()
        self._clock = clock
        self._shared_by = shared_by
        self._key = f"_schedule_position_{id(self):x}"
        self._generation = 0
        self.configure(rate, arrivals=arrivals, stages=stages)

    def configure(
        self, rate: float, *, arrivals: str = "constant", stages: Sequence[Stage] = ()
    ) -> None:
        """Take other values, and begin again. Users that wait are not woken."""
        if not (isfinite(rate) and rate >= 0):
            raise ValueError(f"rate must be a number of at least 0, not {rate!r}")
        if arrivals not in ("constant", "poisson"):
            raise ValueError(f'arrivals must be "constant" or "poisson", not {arrivals!r}')
        self._poisson = arrivals == "poisson"
        self._curve: RateCurve | None = None
        if stages or rate:
            self._curve = RateCurve(stages or [Stage(1.0, rate)])
        self.restart()

    def restart(self) -> None:
        """Begin again at the first stage when a user next asks; a SocketUser's test does so."""
        self._generation += 1
        self._origin: float | None = None

    def __get__(self, user: Any, owner: type | None = None) -> Any:
        # Locust calls user.wait_time(), and a plain object in a class would not get the user.
        return self if user is None else partial(self.next_wait, user)

    def next_wait(self, user: Any) -> float:
        """Seconds until the user's next task; sets user.due. 0.0 when it is late."""
        user.due = None
        if self._curve is None:
            return 0.0
        now = self._clock()
        if self._origin is None:
            self._origin = now
        users = self._shared_by if isinstance(self._shared_by, int) else self._shared_by(user)
        generation, position = user.__dict__.get(self._key, (None, 0.0))
        if generation == self._generation:
            position += self._gap() * users
        else:
            position = self._curve.arrivals(now - self._origin) + self._phase() * users
        intended = self._origin + self._curve.seconds(position)
        user.__dict__[self._key] = (self._generation, position)
        if intended > now:
            return min(intended - now, NEVER)
        user.due = intended
        return 0.0

    def _phase(self) -> float:
        return self._gap() if self._poisson else self._random.random()

    def _gap(self) -> float:
        return self._random.expovariate(1.0) if self._poisson else 1.0
