"""Whole comparisons, short ones, as a user runs them."""

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.compare.conftest import ONE_ROUND, SHORT, Command

APP = """
import os
import time
from greensock import KeepAliveRequestHandler, ThreadingMixIn

class Counting(KeepAliveRequestHandler):
    def handle_one_request(self):
        line = self.rfile.readline()
        if not line:
            self.close_connection = True
            return
        file = os.open("count", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(file, b".")
        os.close(file)
        self.wfile.write(line)

class SlowInThreads(KeepAliveRequestHandler):
    def handle_one_request(self):
        line = self.rfile.readline()
        if not line:
            self.close_connection = True
            return
        if isinstance(self.server, ThreadingMixIn):
            time.sleep(0.03)
        self.wfile.write(line)

class Broken(KeepAliveRequestHandler):
    def handle_one_request(self):
        raise ValueError("planted fault")
"""

IDLE = ["--idle", "30"]
QUICK = [*ONE_ROUND, "--no-plots", "--idle", "0"]


FAILING_LOCUSTFILE = """
from greensock.loadtest import TCPUser, task

class Mine(TCPUser):
    @task
    def ask(self):
        raise RuntimeError("planted fault")
"""

# An earlier run as nobody has seen one: threads answered at once, greenlets after an hour.
EARLIER = {
    "schema": 1,
    "plan": {"users": 3},
    "versions": {"python": "2.7.18"},
    "summary": [
        {"contender": name, "rounds": 3, "metrics": {"p50": {"median": ms, "low": ms, "high": ms}}}
        for name, ms in (("threading", 0.001), ("greenlet", 3_600_000))
    ],
}

GREENLET = [*QUICK, "--mixins", "greenlet"]
UPPER = ["greensock.examples:Upper", *GREENLET]

# Nothing in them is a measurement, and most of their time is waiting: some of them at once.
AT_ONCE = 5
COMPARISONS = {
    "table": [*ONE_ROUND, *IDLE, "--mixins", "greenlet,none", "--json", "-"],
    "slow": [
        "app.py:SlowInThreads",
        *(*SHORT, "--rate", "80", "--rounds", "2", "--idle", "0", "--no-plots"),
        *("--mixins", "threading,greenlet", "--threshold", "p50<15", "--against", "old.json"),
    ],
    "flagged": [
        "greensock.examples:ClassicEcho",
        *(*ONE_ROUND, "--idle", "15", "--mixins", "none", "--fail-on-flags", "--only-summary"),
    ],
    "classic": [
        "greensock.examples:ClassicEcho",
        *(*ONE_ROUND, "--idle", "60", "--max-children", "40"),
        *("--mixins", "forking,none", "--no-plots"),
    ],
    "counting": [
        "app.py:Counting",
        *(*ONE_ROUND, *IDLE, "--mixins", "greenlet", "--no-plots", "--keep-logs"),
    ],
    "stages": [
        *("--pin", "none", "--warmup", "200ms", "--users", "8", "--rounds", "1", "--no-plots"),
        *("--mixins", "greenlet", "--idle", "0", "--processes", "2"),
        *("--stages", "2s:40,2s:40-200"),
    ],
    "broken": ["app.py:Broken", *GREENLET],
    "upper": UPPER,
    "upper as told": [*UPPER, "--scenario", "churn", "--expect", "any"],
    "failing locustfile": [*GREENLET, "-f", "mine.py"],
    "no module": ["nonesuch:Handler", *GREENLET],
    "no attribute": ["--set", "nonesuch=1", *GREENLET],
    "no earlier run": ["--against", "missing.json", *GREENLET],
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Those comparisons by name, each in a folder of its own, when they are over."""
    root = tmp_path_factory.mktemp("comparisons")

    def run(name):
        folder = root / name
        folder.mkdir()
        (folder / "app.py").write_text(APP)
        (folder / "mine.py").write_text(FAILING_LOCUSTFILE)
        (folder / "old.json").write_text(json.dumps(EARLIER))
        command = Command(folder, *COMPARISONS[name])
        try:
            command.status = command.finish()
            assert command.processes() == []
        finally:
            command.end()
        return command

    with ThreadPoolExecutor(AT_ONCE) as pool:
        futures = {name: pool.submit(run, name) for name in COMPARISONS}
    return {name: future.result() for name, future in futures.items()}


def result_of(command):
    return json.loads((command.folder / "greensock-report" / "result.json").read_text())


def test_a_comparison_prints_one_table_and_leaves_data_and_pictures(finished):
    command = finished["table"]
    assert command.status == 0, command.err
    result = json.loads(command.out)
    assert result == result_of(command)
    assert [row["contender"] for row in result["summary"]] == ["greenlet", "none"]
    for row in result["summary"]:
        metrics = row["metrics"]
        assert metrics["idle_held"]["median"] == 30
        assert metrics["requests"]["median"] > 0
        assert metrics["failures"]["median"] == 0
        assert {"p50", "p99", "kib_per_idle", "threads", "processes", "greenlets"} <= metrics.keys()
    report = command.folder / "greensock-report"
    assert {"overview.png", "overview.svg", "report.html"} <= {
        path.name for path in report.iterdir()
    }
    for text in (
        "greenlet",
        "KiB per idle client",
        "+ kernel KiB",
        "greenlets",
        "server PSS MiB",
        "idle clients held of 30",
        "about",
    ):
        assert text in command.err


def test_what_a_mixin_cannot_do_is_said_and_is_no_failure(finished):
    command = finished["classic"]
    assert command.status == 0, command.err
    assert "served 40 of 60 idle clients: a client that stays keeps a child" in command.out
    assert "served 1 of 60 idle clients: it serves one client at a time" in command.out


def test_counts_agree_with_the_servers_own(finished):
    command = finished["counting"]
    assert command.status == 0, command.err
    logs = command.folder / "greensock-report" / "logs" / "1-greenlet"
    seconds = json.loads((logs / "load.json").read_text())["seconds"]
    asked = sum(row[2] for row in seconds if row[1] == "exchange")
    # 16 first clients, 30 idle ones, and 30 of them once more at the end.
    assert (command.folder / "count").stat().st_size == asked + 16 + 30 + 30
    assert asked > 200


def test_a_planted_slow_handler_is_ranked_last(finished):
    command = finished["slow"]
    assert command.status == 99, command.err
    assert result_of(command)["findings"]["p50"]["best"] == ["greenlet"]
    assert "threshold p50<15: kept by greenlet" in command.err
    assert "threshold p50<15: CROSSED by threading" in command.err


def test_a_handler_that_raises_is_one_sentence_and_status_1(finished):
    command = finished["broken"]
    assert command.status == 1
    assert "greenlet failed: the handler answered 0 of its first 16 clients" in command.out
    assert "planted fault" in command.out
    assert "Traceback" not in command.out + command.err
    assert result_of(command)["trials"][0]["failed"] is not None


def test_the_documentations_first_example_is_told_how_to_be_loaded(finished):
    assert finished["upper"].status == 1
    assert "try --scenario churn --expect any" in finished["upper"].out
    assert finished["upper as told"].status == 0, finished["upper as told"].out


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no module", "nonesuch cannot be imported"),
        ("no attribute", "no attribute nonesuch"),
        ("no earlier run", "missing.json"),
    ],
)
def test_a_users_mistake_is_one_line_and_status_2(finished, name, message):
    command = finished[name]
    assert command.status == 2
    assert command.err.splitlines()[-1].startswith("greensock: ")
    assert message in command.err
    assert "Traceback" not in command.err


def test_flags_fail_when_asked_to(finished):
    command = finished["flagged"]
    assert command.status == 99
    assert "idle not served" in command.out
    assert not (command.folder / "greensock-report").exists()


def test_a_locustfile_that_fails_is_status_1(finished):
    assert finished["failing locustfile"].status == 1
    assert "planted fault" in finished["failing locustfile"].out


def test_changes_against_an_earlier_run_are_told_in_both_directions(finished):
    command = finished["slow"]
    changes = {
        (change["contender"], change["metric"]): change["verdict"]
        for change in result_of(command)["against"]
    }
    assert changes == {("threading", "p50"): "worse", ("greenlet", "p50"): "better"}
    assert "Since the earlier run" in command.out
    assert "The earlier run had another load (target, scenario, users, " in command.out
    assert "The earlier run was made elsewhere (python 2.7.18)" in command.out


def test_stages_and_several_locust_processes(finished):
    command = finished["stages"]
    assert command.status == 0, command.err
    trial = result_of(command)["trials"][0]
    seconds = trial["load"]["seconds"]
    assert len(seconds) == 4
    assert seconds[-1]["requests"] > 2 * seconds[0]["requests"]
    assert len(trial["load"]["collected"]["generators"]) == 2
    assert 60 < trial["load"]["asked"] < 180


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_keeps_what_was_measured_and_leaves_nobody(compare, number):
    scenario = ["--scenario", "unix", "--idle", "20", "--mixins", "none,greenlet"]
    command = compare(*ONE_ROUND, *scenario, "--no-plots", "--run-time", "30s")
    command.wait_for("-m locust")
    command.process.send_signal(number)
    command.process.send_signal(number)
    assert command.finish() == 130
    assert "Interrupted" in command.err
    assert "Traceback" not in command.err
    assert result_of(command)["interrupted"]
    (trial,) = result_of(command)["trials"]
    assert trial["failed"] == "interrupted"
    assert trial["idle"]["held"] == 20
    assert command.processes() == []
    assert list(command.temporary.iterdir()) == []  # no folder, and no socket in it


def test_a_server_that_dies_under_load_is_status_1(compare):
    command = compare(*QUICK, "--mixins", "greenlet", "--run-time", "30s")
    command.wait_for("-m locust")
    os.kill(command.wait_for("greenlet_count.py serve"), signal.SIGKILL)
    assert command.finish() == 1
    assert "greenlet failed: the server died under load: " in command.out
    assert command.processes() == []


def test_a_missing_extra_is_named(tmp_path):
    # None in sys.modules is how Python itself marks what cannot be imported.
    script = (
        "import sys; sys.modules['locust'] = None\n"
        "from greensock.cli import main\n"
        "sys.exit(main(['compare']))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 2
    assert done.stderr == (
        'greensock: greensock compare needs the extra "loadtest": pip install greensock[loadtest]\n'
    )
