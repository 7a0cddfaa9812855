"""Trials in this process, side by side: nothing in them is a measurement, most of it is waiting."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from greensock.compare.planning.contenders import Contender
from greensock.compare.planning.options import add_options, understand
from greensock.compare.planning.plan import Plan
from greensock.compare.trials.trial import Trial, run_trial

#: One short trial.
SHORT = ["--pin", "none", "--run-time", "1s", "--warmup", "200ms", "--rounds", "1"]
AT_ONCE = 8


class Silent:
    """A watcher who does not look."""

    def phase(self, text: str) -> None: ...

    def server_started(self, pid: int) -> None: ...

    def reading(self, sample: object, running_totals: object) -> None: ...


def plan_for(*options: str) -> Plan:
    """The plan that the command line would make of these options."""
    parser = argparse.ArgumentParser()
    add_options(parser)
    plan, _ = understand(parser.parse_args([*SHORT, *options]), open_files=20_000)
    return plan


def run_side_by_side(
    trials: Mapping[str, tuple[Plan, str]], folder: Path, at_once: int = AT_ONCE
) -> dict[str, Trial]:
    """Run a trial of each (plan, contender); by name. Not one stays behind."""

    def run(name: str) -> Trial:
        plan, contender = trials[name]
        return run_trial(Contender(contender), 1, plan, folder / name, Silent())

    with ThreadPoolExecutor(at_once) as pool:
        return dict(zip(trials, pool.map(run, trials), strict=True))
