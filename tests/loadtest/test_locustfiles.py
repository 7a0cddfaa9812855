"""Each locustfile runs as its documentation says, against the server that it names."""

from __future__ import annotations

import re
import shlex
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.loadtest.processes import LOADTESTS, LocustRun, greensock_server, run_locust

#: locustfile -> its rows, and what it is run with, so that a short run has something of each.
FILES = {
    "locust_echo.py": (["connect", "echo"], ["--rate", "200"]),
    "locust_idle.py": (["connect", "hello"], ["--silence", "0.5"]),
    "locust_idle_active.py": (
        ["connect", "first exchange", "echo"],
        ["--rate", "200", "--idle", "300"],
    ),
    "locust_slow.py": (["connect", "slow"], ["--rate", "50"]),
    "locust_churn.py": (["connect", "first exchange"], ["--rate", "100"]),
    "locust_udp.py": (["datagram"], ["--rate", "200"]),
    "locust_unix.py": (["connect", "echo"], ["--rate", "200"]),
    "locust_http.py": (["connect", "GET /"], ["--rate", "200"]),
    "locust_http_fast.py": (["/"], ["--rate", "200"]),
    "locust_large.py": (["connect", "block", "slow block"], ["--rate", "20"]),
}


def first_server(locustfile: Path) -> list[str]:
    """The arguments of the `greensock serve` that the docstring gives first."""
    match = re.search(r"greensock serve (.+)", locustfile.read_text())
    assert match is not None
    return shlex.split(match[1])


def test_every_locustfile_is_listed_here() -> None:
    assert {path.name for path in LOADTESTS.glob("locust_*.py")} == set(FILES)


def run_as_documented(name: str, folder: Path) -> LocustRun:
    locustfile = LOADTESTS / name
    target, *serve_options = first_server(locustfile)
    bind = "tcp://127.0.0.1:0"
    if "--bind" in serve_options:
        bind = serve_options[serve_options.index("--bind") + 1]
        bind = bind.replace(":9999", ":0").replace("/tmp", str(folder))
    with greensock_server(target, bind) as url:
        if "http" in name:
            url = url.replace("tcp:", "http:")
        options = ["--host", url, "-u", "8", "-r", "100", "-t", "4s", "-s", "1"]
        return run_locust(locustfile, folder, *options, *FILES[name][1])


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, LocustRun]:
    """A short run of each, several at once: most of it is waiting."""
    folders = [tmp_path_factory.mktemp(name) for name in FILES]
    with ThreadPoolExecutor(4) as pool:
        return dict(zip(FILES, pool.map(run_as_documented, FILES, folders), strict=True))


@pytest.mark.parametrize("name", FILES)
def test_locustfile_runs_against_the_server_it_names(name: str, runs: dict[str, LocustRun]) -> None:
    rows, run = FILES[name][0], runs[name]
    assert run.status == 0, run.output
    assert {entry["name"] for entry in run.entries} == set(rows)
    for row in rows:
        assert run.requests(row) > 0
        assert run.entry(row)["num_failures"] == 0
        assert run.collected_requests(row) == run.requests(row)
    assert run.collected["errors"] == {}
