"""For `greensock compare`: writes locust's running totals once a second, and ends the test in time.

And sees that a rate which is to be asked for is one that the locustfile asks for.

Locust's own --run-time counts from a moment that may lie seconds back on a busy machine.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

import gevent
from locust import events
from locust.env import Environment
from locust.runners import WorkerRunner

from greensock.compare.scenarios import REFUSED


def start_writing(environment: Environment, **_: Any) -> None:
    path = os.environ.get("GREENSOCK_LIVE")
    if path and not isinstance(environment.runner, WorkerRunner):
        gevent.spawn(write_totals, environment, path)
        gevent.spawn(end_in_time, environment, float(os.environ["GREENSOCK_SECONDS"]))


def see_to_rate(environment: Environment, **_: Any) -> None:
    option = os.environ.get("GREENSOCK_RATE_OPTION")
    # Imported by a locustfile that has one, and not for this question.
    options = sys.modules.get("greensock.loadtest.options")
    if option and not (options and options.has_schedules()):
        # Said at the end: what else is wrong with the locustfile comes first.
        print(
            f"{REFUSED}{option} would do nothing: the locustfile asks at a rate of its own; with "
            f"wait_time = schedule_from_command_line() it asks at that of the command line",
            file=sys.stderr,
        )


def end_in_time(environment: Environment, seconds: float) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        gevent.sleep(min(left, 0.2))
    assert environment.runner is not None
    environment.runner.quit()


def write_totals(environment: Environment, path: str) -> None:
    total = environment.stats.total
    with open(path, "w", encoding="utf-8", buffering=1) as file:
        before = time.monotonic(), 0
        # The first line early: whoever waits for the first requests does so before all users came.
        pause = 0.3
        while True:
            gevent.sleep(pause)
            pause = 1.0
            now = time.monotonic(), total.num_requests
            totals = {
                "requests": now[1],
                "failures": total.num_failures,
                "rps": (now[1] - before[1]) / (now[0] - before[0]),
                "p99": total.get_current_response_time_percentile(0.99),
            }
            before = now
            file.write(json.dumps(totals) + "\n")


events.init.add_listener(see_to_rate)
events.test_start.add_listener(start_writing)
