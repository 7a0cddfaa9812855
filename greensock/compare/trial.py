"""One trial: one contender, from its start to its end.

start the server -> does it answer? -> base reading -> idle clients -> idle reading
-> load with a reading a second -> end reading, are the idle ones still there? -> stop
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from greensock.compare.accept_queue import unaccepted
from greensock.compare.contenders import Contender
from greensock.compare.idle_holder import HolderFailed, IdleHolder
from greensock.compare.load import Load, choose_window, reduce_load
from greensock.compare.locust_process import END_TIMEOUT, LoadFailed, LocustProcess
from greensock.compare.plan import Plan
from greensock.compare.processes import describe_status
from greensock.compare.rate_search import RateSearch, judge_steps, overloaded
from greensock.compare.sampling import Sample, Sampler
from greensock.compare.server_process import ServerFailed, ServerProcess, ServerRefused

# Clients that come and go before the base reading, so that what a server loads or allocates
# for its very first clients is not booked on the idle ones.
FIRST_CLIENTS = 16
PATIENCE = 3.0  # seconds without any idle client getting on, after which the rest is given up
SETTLE = 0.5  # seconds before memory is read: allocators and reapers finish first
IDLE_WATCH = 1.0  # seconds over which the CPU of a server with idle clients only is taken
PINGED = 50  # of the held clients are asked once more at the end
FEW = 10  # below so many held clients, bytes per client would be noise


@dataclass
class Idle:
    """What became of the idle clients of one trial. Bytes per client, CPU in percent of a core."""

    asked: int = 0
    held: int = 0
    unanswered: int = 0
    unaccepted: int | None = None
    errors: dict[str, int] = field(default_factory=dict)
    open_seconds: float = 0.0
    bytes_per_client: float | None = None
    kernel_bytes_per_client: float | None = None
    cpu_percent: float | None = None
    let_go: bool = False
    lost: int = 0
    pinged: int = 0
    ping_answers: int = 0


@dataclass
class Trial:
    """Everything measured in one trial; `failed` says why it could not be finished, or is None.

    `refused` means that the server would not start with what the user asked for.
    """

    contender: str
    round: int
    started: float
    phases: dict[str, Sample] = field(default_factory=dict)
    idle: Idle = field(default_factory=Idle)
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


def run_trial(
    contender: Contender, round_number: int, plan: Plan, folder: Path, watcher: Watcher
) -> Trial:
    """Run one trial to its end. What a contender cannot do is recorded, not raised."""
    trial = Trial(contender.name, round_number, time.time())
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        watcher.phase("starting the server")
        server = stack.enter_context(ServerProcess(contender, plan, folder))
        try:
            server.wait_ready()
            watcher.server_started(server.pid)
            measure(trial, contender, plan, server, folder, watcher)
        except (ServerFailed, HolderFailed, LoadFailed) as error:
            trial.failed = str(error)
            trial.refused = isinstance(error, ServerRefused)
        watcher.phase("stopping the server")
        status = server.stop()
        trial.server_exit = describe_status(status)
        trial.stderr_tail = server.error_tail()
        if status and trial.failed is None:
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
        holder = None
        if plan.idle or (plan.locustfile is None and plan.transport != "udp"):
            holder = stack.enter_context(
                IdleHolder(
                    server.address,
                    folder,
                    payload=plan.idle_payload(),
                    expect=plan.expect,
                    cpus=plan.generator_cpus,
                )
            )
            check_answers(holder, server, watcher)
        time.sleep(SETTLE)
        trial.phases["base"] = sampler.read(with_memory=True)
        if holder is not None and plan.idle:
            hold_idle_clients(trial, contender, plan, server, sampler, holder, watcher)
        run_load(trial, plan, server, sampler, folder, watcher)
        trial.phases["end"] = sampler.read(with_memory=True)
        server.check_alive("under load")
        if holder is not None and trial.idle.held and not trial.idle.let_go:
            check_idle_clients(trial, holder, watcher)


def check_answers(holder: IdleHolder, server: ServerProcess, watcher: Watcher) -> None:
    """Let a few clients come and go; ServerFailed when the handler answers none of them."""
    watcher.phase("first clients")
    first = holder.answers(FIRST_CLIENTS, patience=PATIENCE)
    server.check_alive("with its first client")
    if first.held == first.asked:
        return
    reason = next(iter(first.errors), f"no complete reply within {PATIENCE:.0f} s")
    said = server.last_line()
    told = f"; the server's last line is: {said}" if said else ""
    if "within its reply" in reason:
        # As the documentation's first example does: one answer, no line feed, good-bye.
        told += "; for one that closes after its answer try --scenario churn --expect any"
    raise ServerFailed(
        f"the handler answered {first.held} of its first {first.asked} clients ({reason}){told}"
    )


def hold_idle_clients(
    trial: Trial,
    contender: Contender,
    plan: Plan,
    server: ServerProcess,
    sampler: Sampler,
    holder: IdleHolder,
    watcher: Watcher,
) -> None:
    """Open the idle clients and read what they cost.

    When a contender is full before all are served, its idle clients are let go again after
    the reading: under load every other client would wait for ever, and show nothing.
    """
    watcher.phase(f"opening {plan.idle:,} idle clients")
    opened = holder.open(plan.idle, patience=PATIENCE)
    server.check_alive("while idle clients came")
    idle = trial.idle
    idle.asked, idle.held, idle.unanswered = opened.asked, opened.held, opened.unanswered
    idle.errors, idle.open_seconds = opened.errors, opened.seconds
    idle.unaccepted = unaccepted(server.address)
    watcher.phase(f"holding {idle.held:,} idle clients")
    time.sleep(SETTLE)
    reading = trial.phases["idle"] = sampler.read(with_memory=True)
    base = trial.phases["base"]
    if idle.held >= FEW and reading.pss and base.pss is not None:
        idle.bytes_per_client = (reading.pss - base.pss) / idle.held
        kernel = (reading.kernel or 0) - (base.kernel or 0)
        idle.kernel_bytes_per_client = kernel / idle.held
    time.sleep(IDLE_WATCH)
    later = sampler.read(with_memory=False)
    idle.cpu_percent = 100 * (later.cpu - reading.cpu) / (later.t - reading.t)
    if opened.held == opened.asked:
        return
    reasons = "".join(f"; {count} x {text}" for text, count in idle.errors.items())
    said = f"served {opened.held:,} of {opened.asked:,} idle clients: {contender.bound}{reasons}"
    if not holder.answers(1, patience=1.0).held:
        idle.let_go = True
        holder.let_go()
        if holder.answers(1, patience=PATIENCE).held:
            said += "; it then answered nobody else, so the load ran without idle clients"
        else:
            said += "; it then answered nobody, even with all of them gone"
    trial.notes.append(said)


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
        sampler.generators = [locust.pid]
        deadline = time.monotonic() + locust.seconds + END_TIMEOUT
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
        results = locust.read_results()
    if plan.rate is None:
        lead_in = plan.lead_in()
        trial.search, trial.load = judge_steps(results, plan.stages, lead_in, plan.processes)
        if trial.search.best is None:
            first = plan.stages[0].rate
            trial.notes.append(f"did not hold the first rate that was asked, {first:,.0f}/s")
    else:
        window = choose_window(results["marks"], plan.warmup, plan.load_seconds())
        trial.load = reduce_load(results, window)
    if trial.load.failures:
        trial.notes.append(explain_failures(trial.load, Contender(trial.contender)))
    if trial.load.exceptions:
        raise LoadFailed(f"the locustfile failed: {trial.load.exceptions[0]}")
    if not trial.load.requests:
        reason = next(iter(trial.load.errors), "no request was answered")
        raise LoadFailed(f"locust measured no request: {reason}")


def explain_failures(load: Load, contender: Contender) -> str:
    """Of what requests failed most, and the bound that may be behind it."""
    text = "requests failed"
    if load.errors:
        text += f" (most of all {max(load.errors, key=lambda error: load.errors[error])})"
    return f"{text}; {contender.busy_bound}" if contender.busy_bound else text


def check_idle_clients(trial: Trial, holder: IdleHolder, watcher: Watcher) -> None:
    """Are the held clients still connected, and are they still served?"""
    watcher.phase("asking idle clients again")
    trial.idle.lost = holder.lost()
    pinged, answers = holder.ping(PINGED, patience=2.0)
    trial.idle.pinged, trial.idle.ping_answers = pinged, answers
