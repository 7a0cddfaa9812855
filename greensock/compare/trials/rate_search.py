"""`--rate max`: the highest rate that a contender holds, found by steps.

Each step asks for 1.3 times the rate of the one before, until the rate is missed or p99 grows
beyond 100 ms. One locust process manages about 10,000 requests a second at a fixed rate; the
steps end there, and a contender that holds the last one is said to be limited by the generator.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from greensock.compare.trials.load import Load, reduce_load
from greensock.loadtest.schedule import Stage

# Percent of a core. At a fixed rate locust falls behind before its core is full: at 15,000
# requests a second (93 %) the median was eleven times that at 10,000 (60 %).
GENERATOR_FULL = 60.0
SLOWEST = 100.0  # ms of p99
RATE_MISSED = 0.97  # share of the rate asked for


@dataclass
class Step:
    """One rate that was asked for, and whether it was held. Times in ms, CPU in % of a core.

    Of the generator's CPU also what it would have used, had others not had the CPUs.
    """

    asked: float
    rps: float
    p50: float | None
    p99: float | None
    generator_cpu: float | None
    held: bool


@dataclass
class RateSearch:
    """The steps of one trial; `limit` says who was full: contender, generator, or nobody's None."""

    steps: list[Step] = field(default_factory=list)
    limit: str | None = None

    @property
    def best(self) -> Step | None:
        """The last step before the first one that was not held."""
        best = None
        for step in self.steps:
            if not step.held:
                break
            best = step
        return best


def overloaded(running_totals: Mapping[str, Any] | None) -> bool:
    """True when going on would only lengthen the queue; judged on locust's last ten seconds."""
    return running_totals is not None and (running_totals["p99"] or 0) > 3 * SLOWEST


def judge_steps(
    results: Mapping[str, Any], stages: tuple[Stage, ...], lead_in: float, processes: int
) -> tuple[RateSearch, Load]:
    """The search's outcome, and the load of its best step (or of the first, if none was held).

    The load's `seconds` are those of all steps.
    """
    search = RateSearch()
    loads: list[Load] = []
    stopping = results["marks"].get("stopping", math.inf)
    begin = results["marks"]["start"] + lead_in
    for stage in stages:
        window = range(math.ceil(begin + 1.0), math.floor(begin + stage.duration))
        first, begin = begin, begin + stage.duration
        if cut_short := window.stop > stopping:
            # Ended as hopeless within this step: of which there may be only the first second.
            window = range(min(window.start, math.floor(stopping) - 1), math.floor(stopping))
        if window.start < results["marks"]["start"]:
            break
        load = reduce_load(results, window)
        met = load.rps >= RATE_MISSED * stage.rate
        fast = load.p99 is not None and load.p99 <= SLOWEST
        # The window of a step that was cut short may begin before the step.
        since, until = max(first, window.start), stopping if cut_short else window.stop
        cpu = generator_percent(results, since, until)
        held = met and fast and not load.failures and not cut_short
        search.steps.append(Step(stage.rate, load.rps, load.p50, load.p99, cpu, held))
        loads.append(load)
        if not held:
            break
    best = search.best
    whole = reduce_load(results, range(begin_of(loads), end_of(loads)))
    if search.steps:
        last = search.steps[-1]
        saturated = (last.generator_cpu or 0.0) > GENERATOR_FULL * processes
        finished = last.held and len(search.steps) == len(stages)
        if finished or saturated:
            search.limit = "generator"
        elif not last.held or stopping < begin:
            search.limit = "contender"
    if not loads:
        return search, whole
    load = loads[search.steps.index(best) if best is not None else 0]
    # The figures are the best step's; over time the whole search is of interest.
    load.seconds = whole.seconds
    return search, load


def begin_of(loads: list[Load]) -> int:
    return int(loads[0].window[0]) if loads else 0


def end_of(loads: list[Load]) -> int:
    return int(loads[-1].window[1]) if loads else 0


def generator_percent(results: Mapping[str, Any], first: float, last: float) -> float | None:
    """CPU of the locust processes between two moments, percent of a core, all of them together.

    What they waited for a CPU counts too: on a busy machine they may be full with half a core.
    """
    total = None
    for generator in results["generators"].values():
        # Half a second more, so that a late reading at the end counts.
        inside = [(t, sum(cpu)) for t, *cpu in generator["gen"] if first <= t <= last + 0.5]
        if len(inside) > 1:
            (start, before), (end, after) = inside[0], inside[-1]
            total = (total or 0.0) + 100 * (after - before) / (end - start)
    return total
