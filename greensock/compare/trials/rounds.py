"""All trials of a comparison, in an order that is fair to each contender."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from greensock.arguments.usage import UsageError
from greensock.compare.planning.contenders import Contender
from greensock.compare.planning.plan import Plan
from greensock.compare.trials.trial import Trial, TrialInterrupted, Watcher, run_trial
from greensock.processes.started import stop_children


class Display(Watcher, Protocol):
    """A watcher that also hears of each trial's beginning and end."""

    def trial_begins(self, contender: str, round_number: int, number: int, trials: int) -> None: ...

    def trial_ends(self, trial: Trial) -> None: ...


@dataclass
class Comparison:
    """The trials that were run. `interrupted` when Ctrl-C or SIGTERM ended it early."""

    plan: Plan
    started: float = field(default_factory=time.time)
    trials: list[Trial] = field(default_factory=list)
    interrupted: bool = False

    def of(self, contender: str) -> list[Trial]:
        return [trial for trial in self.trials if trial.contender == contender]


def order(plan: Plan) -> Iterator[tuple[int, str]]:
    """(round, contender) pairs: ABC, BCA, CAB, so that no one always comes first or last."""
    names = plan.contenders
    for number in range(plan.rounds):
        shift = number % len(names)
        for name in names[shift:] + names[:shift]:
            yield number + 1, name


@contextmanager
def on_cpus(cpus: tuple[int, ...]) -> Iterator[None]:
    """Run this process where the load runs: its readings must not take the server's time."""
    before = os.sched_getaffinity(0)
    if cpus:
        os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def run_rounds(plan: Plan, display: Display, logs: Path | None) -> Comparison:
    """Run every trial; what was measured is kept when the user interrupts.

    `logs` is the folder in which the logs of all processes stay, or None to drop them.

    Raises:
        UsageError: the very first server refused the target or a setting.
    """
    comparison = Comparison(plan)
    failed: set[str] = set()
    pairs = list(order(plan))
    # A short path in the system's folder: a Unix socket's name has room for 107 bytes.
    with (
        on_cpus(plan.generator_cpus),
        tempfile.TemporaryDirectory(prefix="greensock-") as temporary,
    ):
        root = logs or Path(temporary)
        try:
            for number, (round_number, name) in enumerate(pairs, 1):
                if name in failed:
                    continue  # it would fail the same way again
                display.trial_begins(name, round_number, number, len(pairs))
                folder = root / f"{round_number}-{name}"
                trial = run_trial(Contender(name), round_number, plan, folder, display)
                if trial.refused and not comparison.trials:
                    raise UsageError(trial.failed)
                comparison.trials.append(trial)
                display.trial_ends(trial)
                if trial.failed is not None:
                    failed.add(name)
        except TrialInterrupted as interrupt:
            comparison.trials.append(interrupt.trial)
            comparison.interrupted = True
        except KeyboardInterrupt:
            comparison.interrupted = True
        finally:
            stop_children()
    return comparison
