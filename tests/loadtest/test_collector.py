"""What locust counts, what the collector counts and what the server counted is the same."""

from __future__ import annotations

import math
import socket
from pathlib import Path

import pytest

from greensock.loadtest.histogram import Histogram
from tests.loadtest.processes import REPOSITORY, LocustRun, counting_server, run_locust

COUNTED_USERS = Path(__file__).with_name("counted_users.py")
USERS, EXCHANGES = 6, 50


def check_counts(run: LocustRun, counts: dict[str, int]) -> None:
    assert run.status == 0, run.output
    assert counts == {"connections": USERS, "requests": USERS * EXCHANGES}
    assert run.requests("connect") == run.collected_requests("connect") == USERS
    assert run.requests("echo") == run.collected_requests("echo") == USERS * EXCHANGES
    assert Histogram(run.pairs("echo")).count == USERS * EXCHANGES
    assert sum(row[5] for row in run.collected["seconds"]) == USERS * EXCHANGES * len("hello\n")
    assert run.collected["errors"] == {}
    marks = run.collected["marks"]
    assert marks["start"] <= marks["spawned"] <= marks["stopping"]
    seconds = [row[0] for row in run.collected["seconds"]]
    assert math.floor(marks["start"]) <= min(seconds) <= max(seconds) <= marks["stopping"]


def options(url: str, seconds: int) -> list[str]:
    return ["--host", url, "-u", str(USERS), "-r", "100", "-t", f"{seconds}s", "-s", "1"]


def test_counts_agree_in_one_process(tmp_path: Path) -> None:
    with counting_server("tcp") as server:
        run = run_locust(COUNTED_USERS, tmp_path, *options(server.url, 1), EXCHANGES="50")
    check_counts(run, server.counts)
    (generator,) = run.collected["generators"].values()
    assert generator["lag"]
    assert min(milliseconds for _, milliseconds in generator["lag"]) >= 0
    times, cpu, waited = zip(*generator["gen"], strict=True)
    assert sorted(times) == list(times)
    assert sorted(cpu) == list(cpu)
    assert cpu[0] > 0
    assert sorted(waited) == list(waited)
    # Locust's own percentiles are not all 0 ms.
    assert any(0 < float(bucket) < 1 for bucket in run.entry("echo")["response_times"])
    # The summary in the log, with microseconds.
    assert f"echo: {USERS * EXCHANGES} requests, 0 failed; ms: p50 0." in run.output


def test_counts_agree_with_a_master_and_two_workers(tmp_path: Path) -> None:
    with counting_server("tcp") as server:
        run = run_locust(
            COUNTED_USERS,
            tmp_path,
            *[*options(server.url, 3), "--rate", "300"],
            workers=2,
            EXCHANGES="50",
        )
    check_counts(run, server.counts)
    # Each worker knows of the other's users, so that they share the rate.
    assert run.output.count("one of 6 users") == USERS
    # Both workers had users, and told of their own load.
    assert len(run.collected["generators"]) == 2


def test_counts_agree_with_two_processes(tmp_path: Path) -> None:
    # With --processes the port must be known beforehand.
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = str(sock.getsockname()[1])
    with counting_server("tcp") as server:
        run = run_locust(
            COUNTED_USERS,
            tmp_path,
            *options(server.url, 2),
            *["--processes", "2", "--master-bind-port", port, "--master-port", port],
            EXCHANGES="50",
        )
    check_counts(run, server.counts)
    assert len(run.collected["generators"]) == 2


@pytest.mark.parametrize("way", ["file", "import"])
def test_collector_records_any_locustfile(way: str, tmp_path: Path) -> None:
    """Given as one more -f, or imported by a locustfile that has no socket user."""
    locustfile = tmp_path / "locust_plain.py"
    locustfile.write_text(
        ("import greensock.loadtest.collector\n" if way == "import" else "") + "import locust\n"
        "class PlainUser(locust.User):\n"
        "    @locust.task\n"
        "    def report(self):\n"
        "        self.environment.events.request.fire(\n"
        "            request_type='X', name='plain', response_time=1.5, response_length=3,\n"
        "            exception=None, context={})\n"
        "        raise locust.exception.StopUser\n"
    )
    collector = REPOSITORY / "greensock" / "loadtest" / "collector.py"
    extra = ["-f", f"{locustfile},{collector}"] if way == "file" else []
    run = run_locust(locustfile, tmp_path, *extra, "-u", "4", "-r", "100", "-t", "1s")
    assert run.status == 0, run.output
    assert run.requests("plain") == run.collected_requests("plain") == 4
    assert run.pairs("plain") == [[1.5, 4]]
