"""What changed since an earlier run: its result.json beside the new figures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from greensock.arguments.usage import UsageError
from greensock.compare.results.findings import differ
from greensock.compare.results.metrics import METRICS
from greensock.compare.results.summary import Figure, Summary

# Options that change what the figures mean; a result with others is another experiment.
_SAME_LOAD = (
    "target",
    "scenario",
    "users",
    "rate",
    "arrivals",
    "stages",
    "idle",
    "payload_size",
    "run_time",
    "settings",
    "locustfile",
    "expect",
    "processes",
    "max_children",
    "max_threads",
    "server_cpus",
)


@dataclass(frozen=True)
class Change:
    """One metric of one contender, then and now. `verdict`: better, worse, no difference."""

    contender: str
    metric: str
    before: Figure
    now: Figure
    verdict: str


def read_result(path: str) -> dict[str, Any]:
    """An earlier result.json; UsageError when it is none."""
    try:
        result = json.loads(Path(path).read_text(encoding="utf-8"))
        if result["schema"] == 1 and isinstance(result["summary"], list):
            found: dict[str, Any] = result
            return found
    except OSError as error:
        raise UsageError(f"--against {path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        pass
    raise UsageError(f"--against {path}: not a result.json of greensock compare, schema 1")


def changes(old: Mapping[str, Any], summaries: Sequence[Summary]) -> list[Change]:
    """Every judged metric that both runs have, contender by contender."""
    before = {row["contender"]: row for row in old["summary"]}
    found = []
    for summary in summaries:
        row = before.get(summary.contender)
        if row is None:
            continue
        for name, metric in METRICS.items():
            if metric.better is None:
                continue
            if name in row["metrics"] and name in summary.metrics:
                then, now = Figure(**row["metrics"][name]), summary.metrics[name]
                verdict = judge_change(then, now, metric.better, row["rounds"], summary.rounds)
                found.append(Change(summary.contender, name, then, now, verdict))
    return found


def judge_change(then: Figure, now: Figure, better: str, *rounds: int) -> str:
    """As between contenders: a difference lies outside both runs' ranges, and beyond a tenth."""
    if min(rounds) < 2:
        return "one round"
    if not differ(then, now):
        return "no difference"
    return "better" if (now.median < then.median) == (better == "low") else "worse"


def other_experiment(old: Mapping[str, Any], plan: Mapping[str, Any]) -> list[str]:
    """The options in which the two runs' loads differ."""
    # Through JSON, in which tuples are lists.
    now = json.loads(json.dumps(plan))
    return [name for name in _SAME_LOAD if old["plan"].get(name) != now.get(name)]


def other_place(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """The versions and properties of the machine that differ between two results."""
    new = json.loads(json.dumps(new))
    found = []
    for part in ("versions", "machine"):
        before, now = old.get(part, {}), new[part]
        found += [
            f"{name} {before[name]}" for name in now if before.get(name, now[name]) != now[name]
        ]
    return found
