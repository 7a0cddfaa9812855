# Why not locust's own results: its percentiles are whole milliseconds below 100 ms, its CSV has a
# rate of 0.0 for the first five seconds, and nothing in it is per second and name at once.
#
# Three ways to switch it on, for any locustfile:
# - import greensock.loadtest.users (every socket user does), options or this module;
# - give this file's path as one more -f;
# - and, for a file, --collect FILE or the environment variable GREENSOCK_COLLECT.
#
# In a distributed test each worker sends what it has recorded with locust's own reports (every 3 s
# and when it quits), and the master writes the file.
"""Records every request of a locust process with microseconds, and writes it as JSON.

Without a file it logs one line per name when locust quits. With one, it also keeps each second
apart, which takes about 5 kB per second and name. recording.py describes the file.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import resource
import socket
import sys
import time
from pathlib import Path
from typing import Any

import gevent
import locust.runners
import locust.stats
from locust import events
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner

from greensock.hub.waiting import look_at_the_clock
from greensock.loadtest.histogram import bucket_milliseconds
from greensock.loadtest.recording import Recording

logger = logging.getLogger("greensock.loadtest")

#: Seconds between readings of the timer's lag, and of the CPU time (cheap: 3 us together).
LAG_INTERVAL = 0.1
CPU_INTERVAL = 0.5
#: Locust reads its CPU share every 10 s, and the first reading is always 0: a short test that
#: saturates it would never be warned.
LOCUST_CPU_INTERVAL = 2.0

#: Linux's: nanoseconds on a CPU, nanoseconds of waiting for one, and how often.
SCHEDSTAT = Path("/proc/self/schedstat")

_REPORT_KEY = "greensock"


class Collector:
    """The listeners of one locust process."""

    def __init__(self) -> None:
        self.recording = Recording()
        self._environment: Environment | None = None
        self._path: Path | None = None
        self._ticker: gevent.Greenlet | None = None

    def install(self) -> None:
        """Listen to locust's events, from now to the end of the process."""
        locust.runners.CPU_MONITOR_INTERVAL = LOCUST_CPU_INTERVAL
        # Locust's documented way to finer buckets; its own show 0 ms for most of an echo's answers
        # in the web UI. Its console and CSV print whole milliseconds all the same.
        locust.stats.bucket_response_time = bucket_milliseconds  # type: ignore[assignment]
        events.init_command_line_parser.add_listener(add_options)
        events.init.add_listener(self.on_init)
        events.test_start.add_listener(self.on_test_start)
        events.spawning_complete.add_listener(self.on_spawning_complete)
        events.test_stopping.add_listener(self.on_test_stopping)
        events.test_stop.add_listener(self.on_test_stop)
        events.request.add_listener(self.on_request)
        events.report_to_master.add_listener(self.on_report_to_master)
        events.worker_report.add_listener(self.on_worker_report)
        events.quit.add_listener(self.on_quit)

    def count(self, counter: str) -> None:
        """Count something that is not a request."""
        self.recording.add_to_counter(counter)

    def on_init(self, environment: Environment, **_: Any) -> None:
        path = collect_path(environment)
        if path is not None and not path.absolute().parent.is_dir():
            # Now, and not when all has been measured.
            logger.error("collect must be a file in a folder that exists, not %r", str(path))
            sys.exit(2)

    def on_test_start(self, environment: Environment, **_: Any) -> None:
        self._environment = environment
        self._path = collect_path(environment)
        self.recording = Recording()
        self.recording.marks["start"] = time.time()
        if isinstance(environment.runner, MasterRunner):
            return
        # A collection of the oldest generation walks everything that locust imported: 29 ms in
        # which no request is answered.
        gc.collect()
        gc.freeze()
        self._stop_ticker()
        self._ticker = gevent.spawn(self._watch_generator)

    def on_spawning_complete(self, user_count: int, **_: Any) -> None:
        self.recording.marks.setdefault("spawned", time.time())

    def on_test_stopping(self, environment: Environment, **_: Any) -> None:
        self.recording.marks["stopping"] = time.time()
        if self._ticker is not None:
            # When locust is saturated the ticker is late, and this is what the last second cost.
            self._add_cpu_sample()

    def on_test_stop(self, environment: Environment, **_: Any) -> None:
        self._stop_ticker()
        self._write()

    def on_request(
        self,
        name: str,
        response_time: float | None,
        response_length: int,
        exception: object = None,
        **_: Any,
    ) -> None:
        second = int(time.time()) if self._path is not None else 0
        self.recording.add_request(second, name, response_time, response_length or 0, exception)

    def on_report_to_master(self, client_id: str, data: dict[str, Any], **_: Any) -> None:
        sent, self.recording = self.recording, Recording()
        self.recording.marks = sent.marks
        data[_REPORT_KEY] = sent.batch()

    def on_worker_report(self, client_id: str, data: dict[str, Any], **_: Any) -> None:
        if batch := data.get(_REPORT_KEY):
            self.recording.merge_batch(batch)

    def on_quit(self, exit_code: int, **_: Any) -> None:
        # Later than test_stop, at which the last reports of the workers have not arrived.
        self._write()
        if not self._is_worker():
            self._log_summary()

    def _is_worker(self) -> bool:
        environment = self._environment
        return environment is not None and isinstance(environment.runner, WorkerRunner)

    def _write(self) -> None:
        if self._path is None or self._environment is None or self._is_worker():
            return
        runner = self._environment.runner
        assert runner is not None
        exceptions = [{**row, "nodes": sorted(row["nodes"])} for row in runner.exceptions.values()]
        # Whole or not at all, for whoever reads it while the test runs.
        partial = self._path.with_name(self._path.name + ".partial")
        partial.write_text(json.dumps(self.recording.as_json(exceptions)), encoding="utf-8")
        partial.replace(self._path)

    def _log_summary(self) -> None:
        for name, row in self.recording.by_name().items():
            times = row.histogram
            logger.info(
                "%s: %d requests, %d failed; ms: p50 %.3f, p95 %.3f, p99 %.3f, max %.3f",
                name,
                row.requests,
                row.failures,
                *(times.quantile(fraction) for fraction in (0.5, 0.95, 0.99, 1.0)),
            )
        for counter, number in self.recording.counters.items():
            logger.info("%s: %d", counter, number)

    def _watch_generator(self) -> None:
        next_cpu = 0.0
        while True:
            before = time.perf_counter()
            if before >= next_cpu:
                next_cpu = before + CPU_INTERVAL
                self._add_cpu_sample()
            gevent.sleep(LAG_INTERVAL)
            lag = (time.perf_counter() - before - LAG_INTERVAL) * 1000
            if self._path is not None:
                late = (round(time.time(), 3), round(max(lag, 0.0), 3))
                self.recording.add_generator_sample(self._generator(), lag=late)

    def _generator(self) -> str:
        return f"{socket.gethostname()}-{os.getpid()}"

    def _add_cpu_sample(self) -> None:
        if self._path is not None:
            used = resource.getrusage(resource.RUSAGE_SELF)
            cpu = (
                round(time.time(), 3),
                round(used.ru_utime + used.ru_stime, 4),
                round(seconds_waited(), 4),
            )
            self.recording.add_generator_sample(self._generator(), cpu=cpu)

    def _stop_ticker(self) -> None:
        if self._ticker is not None:
            self._ticker.kill(block=False)
            self._ticker = None


def seconds_waited() -> float:
    """How long this process was ready to run while others had the CPUs; 0.0 where unknown."""
    try:
        return int(SCHEDSTAT.read_text().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0


def collect_path(environment: Environment) -> Path | None:
    """The file asked for; on a worker, whether any was is all that matters."""
    option = getattr(environment.parsed_options, "collect", None)
    return Path(option) if option else None


def add_options(parser: LocustArgumentParser) -> None:
    parser.add_argument(
        "--collect",
        metavar="FILE",
        default=None,
        env_var="GREENSOCK_COLLECT",
        include_in_web_ui=False,
        help="write what was measured, per second with microseconds, to this JSON file",
    )


def catch_up_with_the_clock(environment: Any, **_: Any) -> None:
    """Have `--run-time` begin now.

    Locust sets that timer by the loop's time of before it imported the locustfile: where that took
    three seconds on a busy machine, a test of four was over after one.
    """
    look_at_the_clock()


if __name__ == "greensock.loadtest.collector":
    events.init.add_listener(catch_up_with_the_clock)
    COLLECTOR = Collector()
    COLLECTOR.install()
else:
    # Given as -f, locust runs this file under the name "collector": a second copy of what a
    # locustfile may import already.
    from greensock.loadtest.collector import COLLECTOR
