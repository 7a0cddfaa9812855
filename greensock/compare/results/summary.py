"""From trials to one line of figures per contender: medians, ranges and flags."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from statistics import median
from typing import Any

from greensock.compare.planning.plan import Plan
from greensock.compare.results.metrics import METRICS
from greensock.compare.trials.rate_search import RATE_MISSED
from greensock.compare.trials.rounds import Comparison
from greensock.compare.trials.trial import INTERRUPTED, Trial
from greensock.compare.under_test.sampling import Sample

# From where on a trial's figures are doubted. Above this share of a core the generator's own queue
# shows in the latencies (measured: at 93 % the median was eleven times that at 60 %).
GENERATOR_BUSY = 80.0
GENERATOR_LATE = 10.0  # ms: a 100 ms timer in locust's hub that is later than this at its p99
OTHERS_BUSY = 15.0  # percent of a core used by processes that are not part of the comparison
STOLEN = 2.0  # percent of a core that the hypervisor gave to others

RATE_FLAG = "rate missed"
#: Figures of the load, and of idle clients.
OF_LOAD = frozenset(
    (
        "rps",
        "max_rate",
        "requests",
        "p50",
        "p95",
        "p99",
        "p999",
        "max",
        "cpu_s_per_1000",
        "server_cpu",
    )
)
OF_IDLE = frozenset(
    (
        "bytes_per_idle",
        "kib_per_idle",
        "kernel_kib_per_idle",
        "kernel_bytes_per_idle",
        "idle_cpu",
    )
)
# KiB by which memory differs from run to run: pages, and the blocks that Python takes.
PAGES = 128.0
LIMIT_FLAG = "generator limit"


@dataclass
class Figure:
    """One metric of one contender: the median over its rounds, and the least and greatest.

    Differences up to `resolution` mean nothing.
    """

    median: float
    low: float
    high: float
    resolution: float = 0.0


def flags_of(trial: Trial, plan: Plan) -> list[str]:
    """The flags of one trial, each in a few words."""
    return [f"{kind}: {detail}" for kind, detail in trial_flags(trial, plan)]


@dataclass
class Summary:
    """One contender. `metrics` lacks what could not be measured."""

    contender: str
    rounds: int
    metrics: dict[str, Figure] = field(default_factory=dict)
    flags: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    failed: str | None = None
    #: Whether its load ran without the idle clients that the others had beside theirs.
    apart: bool = False

    def is_apart(self, metric: str) -> bool:
        """Whether a figure is of another experiment than the others'."""
        return self.apart and metric in OF_LOAD | OF_IDLE

    def value(self, metric: str) -> float | None:
        figure = self.metrics.get(metric)
        return None if figure is None else figure.median

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def at(samples: Sequence[Sample], moment: float, read: Callable[[Sample], float]) -> float | None:
    """A cumulative reading at `moment`, between the two samples around it; None outside them."""
    for before, after in pairwise(samples):
        if before.t <= moment <= after.t:
            share = (moment - before.t) / (after.t - before.t) if after.t > before.t else 0.0
            return read(before) + share * (read(after) - read(before))
    return None


def used(trial: Trial, read: Callable[[Sample], float]) -> float | None:
    """By how much a cumulative reading grew in the load's window."""
    first, last = trial.load.window
    if last <= first:
        return None
    samples = [*trial.samples]
    if "end" in trial.phases:
        samples.append(trial.phases["end"])
    start, end = at(samples, first, read), at(samples, last, read)
    return None if start is None or end is None else end - start


def percent(trial: Trial, read: Callable[[Sample], float]) -> float | None:
    """The same as percent of one core."""
    seconds = used(trial, read)
    first, last = trial.load.window
    return None if seconds is None else max(0.0, 100 * seconds / (last - first))


def others(sample: Sample) -> float:
    """CPU seconds of everything on the machine that is not part of the trial."""
    return sample.busy - sample.cpu - sample.generator_cpu - sample.own_cpu


def kib(size: float | None) -> float | None:
    return None if size is None else size / 1024


def trial_metrics(trial: Trial, plan: Plan) -> dict[str, float | None]:
    """Every figure of one trial; None where there is nothing to tell."""
    load, idle = trial.load, trial.idle
    measured = load.requests > 0
    generator = percent(trial, lambda sample: sample.generator_cpu)
    share = load.rps / load.asked if load.asked else 1.0
    rate_met = share >= RATE_MISSED
    # Whole seconds never quite fit the stages: of the mean rate that part that was met.
    rps = share * plan.target_rate() if plan.stages and load.asked else load.rps
    cpu = used(trial, lambda sample: sample.cpu)
    # A saturated generator or a missed rate changes what a request costs: batches get larger.
    free = (generator or 0) < GENERATOR_BUSY * plan.processes
    cost_known = measured and cpu is not None and rate_met and free
    seen = [*trial.phases.values(), *trial.samples]
    base = trial.phases.get("base")
    best = trial.search.best if trial.search is not None else None
    greenlets = [count for count in (idle.greenlets, trial.greenlets) if count is not None]
    return {
        "rps": rps if measured else None,
        "max_rate": best.rps if best is not None else None,
        "requests": float(load.requests) if measured else None,
        "p50": load.p50,
        "p95": load.p95,
        "p99": load.p99,
        "p999": load.p999,
        "max": load.max,
        "failures": float(load.failures) if measured else None,
        "cpu_s_per_1000": 1000 * cpu / load.requests if cost_known and cpu is not None else None,
        "server_cpu": percent(trial, lambda sample: sample.cpu),
        "pss_base": float(base.pss) if base is not None and base.pss else None,
        "mib_base": base.pss / 2**20 if base is not None and base.pss else None,
        "idle_held": float(idle.held) if idle.asked else None,
        "bytes_per_idle": idle.bytes_per_client,
        "kib_per_idle": kib(idle.bytes_per_client),
        "kernel_kib_per_idle": kib(idle.kernel_bytes_per_client),
        "kernel_bytes_per_idle": idle.kernel_bytes_per_client,
        "threads": float(max((sample.threads for sample in seen), default=0)) or None,
        "processes": float(max((sample.processes for sample in seen), default=0)) or None,
        "greenlets": max(map(float, greenlets), default=None),
        "idle_cpu": idle.cpu_percent,
        "generator_cpu": generator,
        "generator_lag_p99": load.lag_p99,
        "other_cpu": percent(trial, others),
        "steal": percent(trial, lambda sample: sample.steal),
    }


def trial_flags(trial: Trial, plan: Plan) -> list[tuple[str, str]]:
    """What casts doubt on a trial's figures: pairs of the kind and the detail."""
    flags = []
    metrics = trial_metrics(trial, plan)
    allowed = GENERATOR_BUSY * plan.processes
    if (metrics["generator_cpu"] or 0) > allowed:
        flags.append(("generator saturated", f"{metrics['generator_cpu']:.0f} % of a core"))
    if (metrics["generator_lag_p99"] or 0) > GENERATOR_LATE:
        flags.append(("generator late", f"p99 {metrics['generator_lag_p99']:.0f} ms"))
    if trial.load.requests and trial.load.asked:
        share = trial.load.rps / trial.load.asked
        if share < RATE_MISSED:
            flags.append((RATE_FLAG, f"{100 * share:.0f} % of it"))
    if (metrics["other_cpu"] or 0) > OTHERS_BUSY:
        flags.append(("machine disturbed", f"others used {metrics['other_cpu']:.0f} % of a core"))
    if (metrics["steal"] or 0) > STOLEN:
        flags.append(("machine disturbed", f"steal {metrics['steal']:.0f} %"))
    idle = trial.idle
    if idle.held < idle.asked:
        flags.append(("idle not served", f"{idle.asked - idle.held:,} of {idle.asked:,}"))
    if idle.lost:
        flags.append(("idle lost", f"{idle.lost:,}"))
    if is_apart(trial):
        flags.append(("measured without idle clients", "they were let go for the load"))
    if idle.ping_answers < idle.pinged:
        silent = idle.pinged - idle.ping_answers
        flags.append(("idle no longer served", f"{silent} of {idle.pinged}"))
    if trial.search is not None and trial.search.limit == "generator":
        flags.append((LIMIT_FLAG, "the contender may hold more than locust can ask"))
    if trial.load.failures:
        flags.append(("failures", f"{trial.load.failures:,}"))
    return flags


def is_apart(trial: Trial) -> bool:
    """Whether its load ran without idle clients, or beside some whom nobody answers any more."""
    idle = trial.idle
    return idle.let_go or (idle.pinged > 0 and idle.ping_answers == 0)


def summarise(comparison: Comparison) -> list[Summary]:
    """One summary per contender that had a trial, in the plan's order."""
    summaries = []
    for name in comparison.plan.contenders:
        trials = comparison.of(name)
        if trials:
            summaries.append(summarise_contender(name, trials, comparison.plan))
    return summaries


def summarise_contender(name: str, trials: list[Trial], plan: Plan) -> Summary:
    finished = [trial for trial in trials if trial.failed is None]
    # A failed trial's figures, as far as it got, are better than none.
    measured = [trial_metrics(trial, plan) for trial in finished or trials]
    summary = Summary(name, len(finished))
    summary.apart = any(is_apart(trial) for trial in trials)
    for metric in METRICS:
        values = [value for row in measured if (value := row[metric]) is not None]
        if values:
            fine = PAGES / trials[0].idle.held if metric == "kib_per_idle" else 0.0
            summary.metrics[metric] = Figure(median(values), min(values), max(values), fine)
    raised: dict[str, list[str]] = {}
    for trial in trials:
        for kind, detail in trial_flags(trial, plan):
            raised.setdefault(kind, []).append(f"round {trial.round}: {detail}")
        summary.notes += [note for note in trial.notes if note not in summary.notes]
        # Whoever was interrupted after a whole round has not failed.
        if not (finished and trial.failed == INTERRUPTED):
            summary.failed = summary.failed or trial.failed
    for kind, details in raised.items():
        summary.flags.append(f"{kind} ({'; '.join(details)})")
    return summary
