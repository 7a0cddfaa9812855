"""The steps of `--rate max`: which rates are asked for, and for how long."""

from __future__ import annotations

from greensock.loadtest.schedule import Stage

FIRST_RATE = 100.0  # where nothing is known of what a contender can do
GROWTH = 1.3
GENERATOR_LIMIT = 10_000.0  # requests/s of one locust process
STEP_SECONDS = 4.0  # of which the first is not counted: the step before may still be worked off


def search_stages(processes: int, usual: float) -> tuple[Stage, ...]:
    """The steps as stages of one load, from half the usual rate on (0: there is none)."""
    stages, rate = [], usual / 2 or FIRST_RATE
    while rate < GENERATOR_LIMIT * processes:
        stages.append(Stage(STEP_SECONDS, round(rate)))
        rate *= GROWTH
    stages.append(Stage(STEP_SECONDS, GENERATOR_LIMIT * processes))
    return tuple(stages)
