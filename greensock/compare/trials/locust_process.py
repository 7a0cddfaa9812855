"""One headless locust as a child process, and the file of results it leaves.

A child, because importing locust monkey-patches the importer. The results come from
greensock.loadtest's collector and not from locust's own CSV or JSON: those are whole
milliseconds below 100 ms, and an echo takes a tenth of one.
"""

from __future__ import annotations

import json
import os
import sys
from math import ceil
from pathlib import Path
from typing import Any

import greensock.loadtest
from greensock.compare.planning.plan import Plan
from greensock.compare.scenarios import LIVE, REFUSED, SCENARIOS
from greensock.processes.free_ports import free_port
from greensock.processes.started import ChildProcess, describe_status

COLLECTOR = Path(greensock.loadtest.__file__).with_name("collector.py")

# Whole seconds are kept, so the load lasts one longer than what is measured, and a little more.
EXTRA_SECONDS = 1.3
END_TIMEOUT = 30.0  # seconds after its time that a stuck locust is given


class LoadFailed(Exception):
    """Locust did not run, or measured nothing."""


class LoadRefused(LoadFailed):
    """The locustfile cannot do what the user has asked for."""


def locust_environment(plan: Plan, folder: Path) -> dict[str, str]:
    """The environment of the locust process.

    LOCUST_* variables would change the options given here. The user's folder goes on the path,
    because locust itself runs elsewhere: in the user's folder it would read their [tool.locust].
    """
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("LOCUST_")
    }
    path = [os.getcwd(), *filter(None, [environment.get("PYTHONPATH")])]
    environment["PYTHONPATH"] = os.pathsep.join(path)
    environment["GREENSOCK_COLLECT"] = str(folder / "load.json")
    environment["GREENSOCK_LIVE"] = str(folder / "live.jsonl")
    # Options of greensock.loadtest that a locustfile of the user's own may have asked for.
    if not plan.own_rate:
        environment["GREENSOCK_RATE"] = str(plan.rate or 0.0)
        environment["GREENSOCK_STAGES"] = plan.staged()
        if plan.locustfile is not None:
            staged = plan.stages and plan.rate is not None
            environment["GREENSOCK_RATE_OPTION"] = "--stages" if staged else "--rate"
    environment["GREENSOCK_ARRIVALS"] = plan.arrivals
    environment["GREENSOCK_SCENARIO"] = json.dumps(
        {
            "users": plan.users,
            "rate": plan.rate or 0.0,
            "arrivals": plan.arrivals,
            "stages": plan.staged(),
            "payload_size": plan.payload_size,
            "expect": plan.expect,
            "timeout": plan.timeout,
            "seed": plan.seed,
        }
    )
    return environment


class LocustProcess(ChildProcess):
    """Loads `address` as the plan says; `seconds` is how long it takes when all goes well."""

    def __init__(self, address: str, plan: Plan, folder: Path) -> None:
        self.seconds = plan.lead_in() + plan.load_seconds() + EXTRA_SECONDS
        self.results = folder / "load.json"
        self.live = folder / "live.jsonl"
        chosen = plan.locustfile or str(SCENARIOS[plan.scenario].locustfile)
        command = [sys.executable, "-m", "locust"]
        command += ["-f", ",".join([chosen, str(COLLECTOR), str(LIVE)])]
        command += ["--headless", "--only-summary", "--loglevel", "WARNING", "--host", address]
        command += ["-u", str(plan.users), "-r", str(plan.spawn_rate)]
        # Only for the case that what ends it in time does not: locust's own timer may be early.
        command += ["-t", f"{ceil(self.seconds + END_TIMEOUT / 2)}s"]
        command += ["-s", f"{ceil(plan.stop_timeout)}s"]
        if plan.processes > 1:
            # Locust's own port may be in use, by another locust.
            port = str(free_port())
            command += ["--processes", str(plan.processes)]
            command += ["--master-bind-host", "127.0.0.1", "--master-bind-port", port]
            command += ["--master-port", port]
        for tag in plan.tags:
            command += ["--tags", tag]
        for tag in plan.exclude_tags:
            command += ["--exclude-tags", tag]
        command += plan.user_classes
        super().__init__(
            "locust",
            command,
            folder,
            cpus=plan.generator_cpus,
            environment={
                **locust_environment(plan, folder),
                "GREENSOCK_SECONDS": str(self.seconds),
            },
            working_directory=folder,
        )

    def is_asking(self) -> bool:
        """Whether its first running totals are there."""
        return self.latest() is not None

    def latest(self) -> dict[str, Any] | None:
        """The newest line of the running totals: users, requests, failures, rps, p99."""
        try:
            lines = self.live.read_text().splitlines(keepends=True)
        except FileNotFoundError:
            return None
        whole = [line for line in lines if line.endswith("\n")]
        if not whole:
            return None
        newest: dict[str, Any] = json.loads(whole[-1])
        return newest

    def check_refusals(self) -> None:
        """Look whether it has told that it cannot do what was asked for.

        Raises:
            LoadRefused: it has.
        """
        for line in self.error_tail(1000):
            if line.startswith(REFUSED):
                raise LoadRefused(line.removeprefix(REFUSED))

    def read_results(self) -> dict[str, Any]:
        """What the collector wrote, once locust has ended."""
        status = self.process.wait()
        try:
            results: dict[str, Any] = json.loads(self.results.read_text())
        except (FileNotFoundError, ValueError):
            said = [line for line in self.error_tail() if line.strip()]
            last = said[-1].strip() if said else "it said nothing"
            raise LoadFailed(
                f"locust ended with {describe_status(status)} and no results: {last}"
            ) from None
        return results
