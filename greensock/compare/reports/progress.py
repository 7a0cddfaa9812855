"""What the user sees while trials run: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from greensock.compare.planning.plan import Plan
from greensock.compare.results.metrics import number
from greensock.compare.trials.rounds import Display
from greensock.compare.trials.trial import Trial
from greensock.compare.under_test.sampling import Sample
from greensock.printable import printable


def in_words(seconds: float) -> str:
    """`50 s`, `2 min 30 s`."""
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    return f"{minutes} min {rest} s" if rest else f"{minutes} min"


def clock(seconds: float) -> str:
    """`0:05`, `12:30`."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02}"


def outcome(trial: Trial) -> str:
    """One trial in one line."""
    if trial.failed is not None:
        return f"failed: {trial.failed}"
    load, idle = trial.load, trial.idle
    parts = [f"{load.rps:,.0f} requests/s"]
    if load.p99 is not None:
        parts.append(f"p99 {number(load.p99)} ms")
    if load.failures:
        parts.append(f"{load.failures:,} failures")
    if idle.asked:
        parts.append(f"{idle.held:,} idle clients")
    if idle.bytes_per_client is not None:
        parts.append(f"{idle.bytes_per_client:,.0f} bytes each")
    return ", ".join(parts)


class PlainDisplay:
    """One line when a trial begins and one when it has ended."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def say(self, text: str) -> None:
        self.console.print(printable(text), highlight=False, markup=False, soft_wrap=True)

    def trial_begins(self, contender: str, round_number: int, number: int, trials: int) -> None:
        self.say(f"{number}/{trials} {contender}, round {round_number} ...")

    def trial_ends(self, trial: Trial) -> None:
        self.say(f"    {outcome(trial)}")

    def phase(self, text: str) -> None:
        """Not worth a line."""

    def server_started(self, pid: int) -> None:
        """Not worth a line."""

    def reading(self, sample: Sample, running_totals: dict[str, Any] | None) -> None:
        """Not worth a line."""


class LiveDisplay(PlainDisplay):
    """One block that is rewritten in place, above it the outcome of each finished trial.

    Drawn only when something happens, about once a second: a refresh thread would take time from
    the load generator's CPU.
    """

    def __init__(self, console: Console, plan: Plan) -> None:
        super().__init__(console)
        self.plan = plan
        self.began = time.monotonic()
        self.number = self.trials = 0
        self.trial_began = self.began
        self.title = self.doing = self.figures = ""
        self.memory = 0
        self.live = Live(console=console, auto_refresh=False, transient=True)

    def trial_begins(self, contender: str, round_number: int, number: int, trials: int) -> None:
        self.number, self.trials, self.trial_began = number, trials, time.monotonic()
        self.title = f"{contender}, round {round_number} of {self.plan.rounds}"
        self.doing = self.figures = ""
        self.memory = 0
        self.draw()

    def trial_ends(self, trial: Trial) -> None:
        self.say(f"{trial.contender}, round {trial.round}: {outcome(trial)}")

    def phase(self, text: str) -> None:
        self.doing, self.figures = text, ""
        self.draw()

    def reading(self, sample: Sample, running_totals: dict[str, Any] | None) -> None:
        parts = []
        if running_totals is not None:
            self.doing = "under load"
            parts.append(f"{running_totals['rps']:,.0f} requests/s")
            if running_totals["p99"] is not None:
                parts.append(f"p99 {number(running_totals['p99'])} ms")
            if running_totals["failures"]:
                parts.append(f"{running_totals['failures']:,} failures")
        # Where reading it is slow it is read seldom.
        self.memory = sample.pss or self.memory
        if self.memory:
            parts.append(f"{self.memory / 2**20:,.1f} MiB")
        parts.append(f"{sample.threads:,} threads, {sample.processes:,} processes")
        self.figures = ", ".join(parts)
        self.draw()

    def time_left(self) -> float:
        """From the plan's estimate, corrected by how long the trials so far have taken."""
        per_trial = self.plan.estimate() / max(1, self.trials)
        done = self.number - 1
        if done:
            per_trial = (self.trial_began - self.began) / done
        return max(0.0, per_trial * (self.trials - done) - (time.monotonic() - self.trial_began))

    def draw(self) -> None:
        elapsed, left = time.monotonic() - self.began, self.time_left()
        grid = Table.grid(padding=(0, 1))
        grid.add_row(
            Text(self.title, style="bold"),
            ProgressBar(total=elapsed + left or 1.0, completed=elapsed, width=24),
            Text(
                f"{clock(elapsed)}, trial {self.number} of {self.trials}, "
                f"about {in_words(left)} left"
            ),
        )
        block = Table.grid()
        block.add_row(grid)
        block.add_row(
            Text(f"  {self.doing}: {self.figures}" if self.figures else f"  {self.doing}")
        )
        self.live.update(block, refresh=True)


@contextmanager
def open_display(console: Console, plan: Plan) -> Iterator[Display]:
    """The display that suits where the console writes to."""
    if not console.is_terminal:
        yield PlainDisplay(console)
        return
    display = LiveDisplay(console, plan)
    with display.live:
        yield display
