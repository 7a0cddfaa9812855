"""One trial: one contender, from its start to its end.

start the server -> does it answer? -> base reading -> idle clients -> idle reading
-> load with a reading a second -> end reading, are the idle ones still there? -> stop
"""

from __future__ import annotations

import time
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from greensock.compare.idle.first_clients import check_answers, check_datagrams
from greensock.compare.idle.idle_holder import HolderFailed, IdleHolder
from greensock.compare.idle.idle_phase import SETTLE, Idle, IdlePhase
from greensock.compare.planning.contenders import Contender
from greensock.compare.planning.plan import Plan
from greensock.compare.trials.load import Load, choose_window, reduce_load
from greensock.compare.trials.locust_process import (
    END_TIMEOUT,
    LoadFailed,
    LoadRefused,
    LocustProcess,
)
from greensock.compare.trials.rate_search import RateSearch, judge_steps, overloaded
from greensock.compare.under_test.sampling import Sample, Sampler
from greensock.compare.under_test.server_process import ServerFailed, ServerProcess, ServerRefused
from greensock.processes.started import describe_status, wait_until

INTERRUPTED = "interrupted"  # why a trial failed
FIRST_TOTALS = 10.0  # seconds in which locust starts and counts its first requests


@dataclass
class Trial:
    """Everything measured in one trial; `failed` says why it could not be finished, or is None.

    `refused` means that server or locustfile cannot do what the user asked for. `greenlets` were
    counted as the load began.
    """

    contender: str
    round: int
    started: float
    pid: int | None = None
    phases: dict[str, Sample] = field(default_factory=dict)
    idle: Idle = field(default_factory=Idle)
    greenlets: int | None = None
    samples: list[Sample] = field(default_factory=list)
    load: Load = field(default_factory=Load)
    search: RateSearch | None = None
    notes: list[str] = field(default_factory=list)
    failed: str | None = None
    refused: bool = False
    server_exit: str | None = None
    stderr_tail: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


class Watcher(Protocol):
    """Whoever wants to know how a trial goes: the progress display, or a test."""

    def phase(self, text: str) -> None: ...

    def server_started(self, pid: int) -> None: ...

    def reading(self, sample: Sample, running_totals: dict[str, Any] | None) -> None: ...


class TrialInterrupted(KeyboardInterrupt):
    """The user ended the trial; `trial` holds what was measured until then."""

    def __init__(self, trial: Trial) -> None:
        super().__init__()
        self.trial = trial


def run_trial(
    contender: Contender, round_number: int, plan: Plan, folder: Path, watcher: Watcher
) -> Trial:
    """Run one trial to its end. What a contender cannot do is recorded, not raised.

    Raises:
        TrialInterrupted: by Ctrl-C, or a signal that is treated alike.
    """
    trial = Trial(contender.name, round_number, time.time())
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        watcher.phase("starting the server")
        server = stack.enter_context(ServerProcess(contender, plan, folder))
        try:
            trial.pid = server.pid
            server.wait_ready()
            trial.notes += server.notes()
            watcher.server_started(server.pid)
            measure(trial, contender, plan, server, folder, watcher)
        except (ServerFailed, HolderFailed, LoadFailed) as error:
            trial.failed = str(error)
            trial.refused = isinstance(error, ServerRefused | LoadRefused)
        except KeyboardInterrupt:
            trial.failed = INTERRUPTED
            raise TrialInterrupted(trial) from None
        watcher.phase("stopping the server")
        status = server.stop()
        trial.server_exit = describe_status(status)
        trial.stderr_tail = server.error_tail()
        if not server.ended_cleanly(status) and trial.failed is None:
            trial.notes.append(f"the server did not end cleanly when told to: {trial.server_exit}")
    return trial


def measure(
    trial: Trial,
    contender: Contender,
    plan: Plan,
    server: ServerProcess,
    folder: Path,
    watcher: Watcher,
) -> None:
    """Everything between the server's start and its stop."""
    sampler = Sampler(server.pid)
    with ExitStack() as stack:
        phase = None
        if plan.needs_idle_holder():
            holder = stack.enter_context(
                IdleHolder(
                    server.address,
                    folder,
                    payload=plan.idle_payload(),
                    expect=plan.expect,
                    sources=plan.idle_sources(),
                    cpus=plan.generator_cpus,
                )
            )
            phase = IdlePhase(plan, contender, server, holder)
            trial.idle = phase.idle
            if holder.payload is not None:
                watcher.phase("first clients")
                check_answers(holder, server)
        elif plan.locustfile is None:
            watcher.phase("first datagrams")
            check_datagrams(server, plan.datagram_payload(), plan.expect)
        time.sleep(SETTLE)
        base = trial.phases["base"] = sampler.read(with_memory=True)
        if phase is not None and plan.idle:
            watcher.phase(f"opening {plan.idle:,} idle clients")
            phase.hold()
            watcher.phase(f"holding {phase.idle.held:,} idle clients")
            time.sleep(SETTLE)
            trial.phases["idle"] = phase.read_cost(sampler, base)
            phase.make_room()
            trial.notes += phase.notes
        run_load(trial, plan, server, sampler, folder, watcher)
        trial.phases["end"] = sampler.read(with_memory=True)
        server.check_alive("under load")
        if phase is not None:
            watcher.phase("asking idle clients again")
            phase.check()


def run_load(
    trial: Trial,
    plan: Plan,
    server: ServerProcess,
    sampler: Sampler,
    folder: Path,
    watcher: Watcher,
) -> None:
    """Run locust beside a reading per interval; LoadFailed when it measured nothing."""
    watcher.phase("starting locust")
    with LocustProcess(server.address, plan, folder) as locust:
        try:
            watch_load(trial, plan, server, sampler, locust, watcher)
        except KeyboardInterrupt:
            # Told to, it stops as at its end, and leaves the results so far.
            locust.stop()
            with suppress(LoadFailed):
                take_load(trial, plan, locust.read_results())
            raise
        take_load(trial, plan, locust.read_results())
    load = trial.load
    if load.exceptions:
        raise LoadFailed(f"the locustfile failed: {load.exceptions[0]}")
    locust.check_refusals()
    if not load.requests:
        reason = next(iter(load.errors), "no request was answered")
        raise LoadFailed(f"locust measured no request: {reason}")
    if load.failures:
        what = explain_failures(load, Contender(trial.contender))
        if load.failures >= load.requests:
            raise LoadFailed(f"all {what}")
        trial.notes.append(what)


def watch_load(
    trial: Trial,
    plan: Plan,
    server: ServerProcess,
    sampler: Sampler,
    locust: LocustProcess,
    watcher: Watcher,
) -> None:
    """Read what the server uses until locust ends."""
    sampler.generators = [locust.pid]
    deadline = time.monotonic() + locust.seconds + END_TIMEOUT
    # While users come, before anything is measured: counting stops the server for a moment.
    trial.samples.append(sampler.read())
    ended = (locust.poll, server.poll)
    wait_until(
        lambda: locust.is_asking() or any(poll() is not None for poll in ended), FIRST_TOTALS
    )
    trial.greenlets = server.count_greenlets()
    next_reading = time.monotonic()
    while locust.poll() is None:
        if time.monotonic() > deadline:
            raise LoadFailed(f"locust did not end {END_TIMEOUT:.0f} s after its time")
        server.check_alive("under load")
        sample = sampler.read()
        trial.samples.append(sample)
        totals = locust.latest()
        watcher.reading(sample, totals)
        if plan.rate is None and overloaded(totals):
            locust.process.terminate()
        # From the intended time, so that readings stay one interval apart; never catching up.
        next_reading = max(next_reading + plan.sample_interval, time.monotonic())
        locust.wait(next_reading - time.monotonic())


def take_load(trial: Trial, plan: Plan, results: dict[str, Any]) -> None:
    """The trial's figures from what the collector wrote."""
    if plan.rate is None:
        lead_in = plan.lead_in()
        trial.search, trial.load = judge_steps(results, plan.stages, lead_in, plan.processes)
        if trial.search.best is None:
            first = plan.stages[0].rate
            trial.notes.append(f"did not hold the first rate that was asked, {first:,.0f}/s")
    else:
        marks = results["marks"]
        if plan.stages and "start" in marks:
            # They begin at a time of their own, not when the users are complete.
            marks = {**marks, "spawned": marks["start"] + plan.lead_in() - plan.warmup}
        window = choose_window(marks, plan.warmup, plan.load_seconds())
        trial.load = reduce_load(results, window)
        start = marks.get("start", 0.0)
        trial.load.asked = plan.asked_between(window.start - start, window.stop - start)


def explain_failures(load: Load, contender: Contender) -> str:
    """Of what requests failed most, and the bound that may be behind it."""
    text = "requests failed"
    if load.errors:
        text += f" (most of all {max(load.errors, key=lambda error: load.errors[error])})"
    return f"{text}; {contender.busy_bound}" if contender.busy_bound else text
