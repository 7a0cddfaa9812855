"""Writes locust's running totals once a second, for the display of `greensock compare`."""

from __future__ import annotations

import json
import os
import time
from typing import Any

import gevent
from locust import events
from locust.env import Environment
from locust.runners import WorkerRunner


def start_writing(environment: Environment, **_: Any) -> None:
    path = os.environ.get("GREENSOCK_LIVE")
    if path and not isinstance(environment.runner, WorkerRunner):
        gevent.spawn(write_totals, environment, path)


def write_totals(environment: Environment, path: str) -> None:
    total = environment.stats.total
    with open(path, "w", encoding="utf-8", buffering=1) as file:
        before = time.monotonic(), 0
        while True:
            gevent.sleep(1.0)
            now = time.monotonic(), total.num_requests
            totals = {
                "requests": now[1],
                "failures": total.num_failures,
                "rps": (now[1] - before[1]) / (now[0] - before[0]),
                "p99": total.get_current_response_time_percentile(0.99),
            }
            before = now
            file.write(json.dumps(totals) + "\n")


events.test_start.add_listener(start_writing)
