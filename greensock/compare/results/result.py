"""result.json, schema 1: everything that was measured, for other programs and for `--against`.

    schema          1
    versions        {greensock, python, gevent, locust, loop, gil}: gevent's loop; "on" or "off"
    machine         {platform, kernel, cpus, open_files, somaxconn, ports}
    argv            the command line
    started         seconds since the epoch
    interrupted     true when Ctrl-C ended the comparison early
    plan            every option, as it was used
    notes           [how the contenders were set up]
    trials          [{contender, round, started, pid, failed, refused, notes, flags, greenlets,
                      phases: {base|idle|end: reading}, samples: [reading],
                      idle: {asked, held, proof, unanswered, unaccepted, errors, open_seconds,
                             bytes_per_client, kernel_bytes_per_client, cpu_percent, greenlets,
                             let_go, lost, pinged, ping_answers},
                      load: {window, requests, failures, rps, asked, p50, p95, p99, p999, max,
                             received_bytes, lag_p99, histogram: [[ms, requests]],
                             seconds: [{t, requests, failures, p50, p99}], errors, counters,
                             exceptions, collected: {marks, seconds, generators} (as in
                             greensock.loadtest.recording)},
                      search (of --rate max, else null): {steps: [{asked, rps, p50, p99,
                             generator_cpu, held}], limit: contender|generator|null},
                      server_exit, stderr_tail}]
                    a reading: {t, cpu, processes, threads, generator_cpu, own_cpu, busy, steal,
                    cost_ms, pss, pss_anonymous, uss, rss, kernel, open_files}
    summary         [{contender, rounds, flags, notes, failed, apart,
                      metrics: {name: {median, low, high, resolution}}}]
    findings        {metric: {metric, best, verdict, sentence}}
    against         with --against: [{contender, metric, before, now, verdict}]
    thresholds      [{expression, contender, value, ok}]

Times are milliseconds in `load` and in the metrics, seconds elsewhere; sizes are bytes.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import gevent

from greensock.compare.results.findings import Finding
from greensock.compare.results.summary import Summary, flags_of
from greensock.compare.results.thresholds import Verdict
from greensock.compare.trials.rounds import Comparison
from greensock.net import open_files

SCHEMA = 1


def versions() -> dict[str, str]:
    found = {
        "python": platform.python_version(),
        # Not get_hub(), which would start one here.
        "loop": gevent.config.loop.__module__.removeprefix("gevent."),
        "gil": "on" if getattr(sys, "_is_gil_enabled", lambda: True)() else "off",
    }
    for package in ("greensock", "gevent", "locust"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # run from a folder, not installed
            found[package] = "unknown"
    return found


def machine() -> dict[str, Any]:
    somaxconn = Path("/proc/sys/net/core/somaxconn")
    ports = Path("/proc/sys/net/ipv4/ip_local_port_range")
    return {
        "platform": platform.machine(),
        "kernel": platform.release(),
        "cpus": len(os.sched_getaffinity(0)),
        "open_files": open_files.limit() or sys.maxsize,
        "somaxconn": int(somaxconn.read_text()) if somaxconn.exists() else None,
        "ports": ports.read_text().split() if ports.exists() else None,
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
        "argv": sys.argv,
        "started": comparison.started,
        "interrupted": comparison.interrupted,
        "plan": comparison.plan.as_json(),
        "notes": comparison.plan.notes(),
        "trials": [
            {**trial.as_json(), "flags": flags_of(trial, comparison.plan)}
            for trial in comparison.trials
        ],
        "summary": [summary.as_json() for summary in summaries],
        "findings": {name: asdict(finding) for name, finding in findings.items()},
        "thresholds": [asdict(verdict) for verdict in thresholds],
    }


def as_text(result: Mapping[str, Any]) -> str:
    """One line for each top-level value, and for each trial: readable, and a tenth in size."""
    lines = []
    for name, value in result.items():
        text = json.dumps(value)
        if isinstance(value, list) and value and isinstance(value[0], dict):
            text = "[\n" + ",\n".join(f"  {json.dumps(one)}" for one in value) + "\n ]"
        lines.append(f" {json.dumps(name)}: {text}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def write_json(result: Mapping[str, Any], path: Path) -> None:
    """Write it whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(as_text(result), encoding="utf-8")
    partial.replace(path)
