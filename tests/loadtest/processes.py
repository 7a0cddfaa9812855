"""Locust and servers as child processes of a test."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[2]
LOADTESTS = REPOSITORY / "loadtests"
#: Seconds after which a child counts as stuck. Never a bound on speed.
STUCK = 60.0


@dataclass
class CountingServer:
    """counting_server.py, running. `counts` are there when the block has ended."""

    process: subprocess.Popen[str]
    url: str
    counts: dict[str, int]


@contextmanager
def counting_server(protocol: str, **options: object) -> Iterator[CountingServer]:
    command = [sys.executable, str(Path(__file__).with_name("counting_server.py")), protocol]
    command += [f"{name}={value}" for name, value in options.items()]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().removeprefix("listening on ").strip()
            server = CountingServer(process, url, {})
            yield server
            output, _ = process.communicate("", timeout=STUCK)
            server.counts = json.loads(output)
        finally:
            process.kill()


@contextmanager
def greensock_server(target: str, bind: str = "tcp://127.0.0.1:0") -> Iterator[str]:
    """`greensock serve`, running; yields where it listens."""
    command = [sys.executable, "-m", "greensock", "serve", target, "--mixin", "greenlet"]
    command += ["--bind", bind]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().removeprefix("listening on ").strip()
            process.terminate()
            assert process.wait(STUCK) == 0
        finally:
            process.kill()


@dataclass
class LocustRun:
    """What a locust that has ended left behind."""

    status: int
    output: str
    entries: list[dict[str, Any]]
    collected: dict[str, Any]

    def entry(self, name: str) -> dict[str, Any]:
        """Locust's own row of that name; without requests if there is none."""
        nothing = {"name": name, "num_requests": 0, "num_failures": 0, "method": ""}
        return next((entry for entry in self.entries if entry["name"] == name), nothing)

    def requests(self, name: str) -> int:
        """By locust's own count."""
        number: int = self.entry(name)["num_requests"]
        return number

    def collected_requests(self, name: str) -> int:
        return sum(row[2] for row in self.collected["seconds"] if row[1] == name)

    def pairs(self, name: str) -> list[list[float]]:
        """[ms, number] of the collector, of all seconds."""
        return [pair for row in self.collected["seconds"] if row[1] == name for pair in row[6]]


class LocustProcesses:
    """The locusts of one run, with one log. Ended, by force if need be, with the block."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._folder = folder
        self._environment = environment
        self._stack = contextlib.ExitStack()
        self.children: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> LocustProcesses:
        self._log = self._stack.enter_context(open(self._folder / "output", "w"))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def start(self, *arguments: str, pipe: int | None = None) -> None:
        environment = dict(self._environment)
        if pipe is not None:
            environment["PORT_PIPE"] = str(pipe)
        child = subprocess.Popen(
            [sys.executable, "-m", "locust", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            cwd=self._folder,
            env=environment,
            pass_fds=() if pipe is None else (pipe,),
        )
        self._stack.callback(child.wait)
        self._stack.callback(child.kill)
        self.children.append(child)

    def start_master(self, *arguments: str) -> str:
        """Start a master that runs counted_users.py; returns the port where it awaits workers."""
        reader, writer = os.pipe()
        try:
            self.start(*arguments, pipe=writer)
        finally:
            os.close(writer)
        with open(reader) as pipe:
            return pipe.read()


def run_locust(
    locustfile: Path, folder: Path, *arguments: str, workers: int = 0, **variables: str
) -> LocustRun:
    """Run locust headless in folder until it ends by itself; with workers, as their master."""
    results, collected = folder / "locust.json", folder / "collected.json"
    # Locust adds the suffix. Without what a developer's shell tells locust.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LOCUST_")}
    environment = {**kept, "GREENSOCK_COLLECT": str(collected), **variables}
    command = [
        "-f",
        str(locustfile),
        "--headless",
        "--json-file",
        str(folder / "locust"),
        *arguments,
    ]
    with LocustProcesses(folder, environment) as processes:
        if workers:
            command += ["--master", "--master-bind-host", "127.0.0.1", "--master-bind-port", "0"]
            port = processes.start_master(*command, "--expect-workers", str(workers))
            for _ in range(workers):
                processes.start("-f", str(locustfile), "--worker", "--master-port", port)
        else:
            processes.start(*command)
        status, *worker_statuses = [child.wait(STUCK) for child in processes.children]
    output = (folder / "output").read_text()
    assert worker_statuses == [0] * workers, output
    return LocustRun(
        status,
        output,
        json.loads(results.read_text()) if results.exists() else [],
        json.loads(collected.read_text()) if collected.exists() else {},
    )
