"""result.json, schema 1: everything that was measured, for other programs and for `--against`.

    schema          1
    versions        {greensock, python, gevent, locust}
    machine         {platform, kernel, cpus, open_files, somaxconn}
    started         seconds since the epoch
    interrupted     true when Ctrl-C ended the comparison early
    plan            every option, as it was used
    trials          [{contender, round, started, failed, refused, notes,
                      phases: {base|idle|end: reading}, samples: [reading],
                      idle: {asked, held, unanswered, unaccepted, errors, open_seconds,
                             bytes_per_client, kernel_bytes_per_client, cpu_percent, let_go,
                             lost, pinged, ping_answers},
                      load: {window, requests, failures, rps, p50, p95, p99, p999, max,
                             received_bytes, lag_p99, histogram: [[ms, requests]],
                             seconds: [{t, requests, failures, p50, p99}], errors, counters,
                             exceptions},
                      search (of --rate max, else null): {steps: [{asked, rps, p50, p99,
                             generator_cpu, held}], limit: contender|generator|null},
                      server_exit, stderr_tail}]
                    a reading: {t, cpu, processes, threads, generator_cpu, own_cpu, busy, steal,
                    cost_ms, pss, kernel, open_files}
    summary         [{contender, rounds, metrics: {name: {median, low, high}}, flags, notes,
                      failed}]
    findings        {metric: {metric, best, verdict, sentence}}
    against         with --against: [{contender, metric, before, now, verdict}]
    thresholds      [{expression, contender, value, ok}]

Times are milliseconds in `load` and in the metrics, seconds elsewhere; sizes are bytes.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from greensock.compare.findings import Finding
from greensock.compare.processes import raise_open_files_limit
from greensock.compare.rounds import Comparison
from greensock.compare.summary import Summary
from greensock.compare.thresholds import Verdict

SCHEMA = 1


def versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in ("greensock", "gevent", "locust"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # run from a folder, not installed
            found[package] = "unknown"
    return found


def machine() -> dict[str, Any]:
    somaxconn = Path("/proc/sys/net/core/somaxconn")
    return {
        "platform": platform.machine(),
        "kernel": platform.release(),
        "cpus": len(os.sched_getaffinity(0)),
        "open_files": raise_open_files_limit(),
        "somaxconn": int(somaxconn.read_text()) if somaxconn.exists() else None,
    }


def build_result(
    comparison: Comparison,
    summaries: Sequence[Summary],
    findings: Mapping[str, Finding],
    thresholds: Sequence[Verdict],
) -> dict[str, Any]:
    """The whole result as plain data."""
    return {
        "schema": SCHEMA,
        "versions": versions(),
        "machine": machine(),
        "started": comparison.started,
        "interrupted": comparison.interrupted,
        "plan": comparison.plan.as_json(),
        "trials": comparison.as_json(),
        "summary": [summary.as_json() for summary in summaries],
        "findings": {name: asdict(finding) for name, finding in findings.items()},
        "thresholds": [asdict(verdict) for verdict in thresholds],
    }


def write_json(result: Mapping[str, Any], path: Path) -> None:
    """Write it whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    partial.replace(path)
