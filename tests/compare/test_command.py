"""Whole comparisons, short ones, as a user runs them."""

import json
import os
import signal
import subprocess
import sys

import pytest

from tests.compare.conftest import ONE_ROUND, SHORT, Command

COUNTING = """
import os
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
"""

SLOW = """
import time
from greensock import KeepAliveRequestHandler, ThreadingMixIn

class SlowInThreads(KeepAliveRequestHandler):
    def handle_one_request(self):
        line = self.rfile.readline()
        if not line:
            self.close_connection = True
            return
        if isinstance(self.server, ThreadingMixIn):
            time.sleep(0.03)
        self.wfile.write(line)
"""

BROKEN = """
from greensock import KeepAliveRequestHandler

class Broken(KeepAliveRequestHandler):
    def handle_one_request(self):
        raise ValueError("planted fault")
"""

IDLE = ["--idle", "30"]
QUICK = [*ONE_ROUND, "--no-plots", "--idle", "0"]


# The comparisons that take longest, all started at once: nothing in them is a measurement.
LONG = {
    "table": [*ONE_ROUND, *IDLE, "--mixins", "greenlet,none", "--json", "-"],
    "classic": [
        "greensock.examples:ClassicEcho",
        *ONE_ROUND,
        *("--idle", "60", "--mixins", "forking,none", "--no-plots"),
    ],
    "counting": [
        "app.py:Counting",
        *(*ONE_ROUND, *IDLE, "--mixins", "greenlet", "--no-plots", "--keep-logs"),
    ],
    "slow": [
        "app.py:SlowInThreads",
        *(*SHORT, "--rounds", "2", "--idle", "0", "--no-plots"),
        *("--mixins", "threading,greenlet", "--threshold", "p50<15"),
    ],
    "old": [*QUICK, "--mixins", "greenlet", "--json", "old.json", "--only-summary"],
}


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    """The long comparisons by name, each in a folder of its own."""
    root = tmp_path_factory.mktemp("long")
    commands = {}
    for name, options in LONG.items():
        folder = root / name
        folder.mkdir()
        (folder / "app.py").write_text(COUNTING if name == "counting" else SLOW)
        commands[name] = Command(folder, *options)
    yield commands
    for command in commands.values():
        command.end()


def result_of(command):
    return json.loads((command.folder / "greensock-report" / "result.json").read_text())


def test_a_comparison_prints_one_table_and_leaves_data_and_pictures(started):
    command = started["table"]
    assert command.finish() == 0, command.err
    result = json.loads(command.out)
    assert result == result_of(command)
    assert [row["contender"] for row in result["summary"]] == ["greenlet", "none"]
    for row in result["summary"]:
        metrics = row["metrics"]
        assert metrics["idle_held"]["median"] == 30
        assert metrics["requests"]["median"] > 0
        assert metrics["failures"]["median"] == 0
        assert {"p50", "p99", "bytes_per_idle", "threads", "processes"} <= metrics.keys()
    report = command.folder / "greensock-report"
    assert {"overview.png", "overview.svg", "report.html"} <= {
        path.name for path in report.iterdir()
    }
    for text in ("greenlet", "bytes per idle client", "idle clients held of 30", "about"):
        assert text in command.err
    assert command.processes() == []


def test_what_a_mixin_cannot_do_is_said_and_is_no_failure(started):
    command = started["classic"]
    assert command.finish() == 0, command.err
    assert "served 40 of 60 idle clients: a client that stays keeps a child" in command.out
    assert "served 1 of 60 idle clients: it serves one client at a time" in command.out
    assert command.processes() == []


def test_counts_agree_with_the_servers_own(started):
    command = started["counting"]
    assert command.finish() == 0, command.err
    logs = command.folder / "greensock-report" / "logs" / "1-greenlet"
    seconds = json.loads((logs / "load.json").read_text())["seconds"]
    asked = sum(row[2] for row in seconds if row[1] == "exchange")
    # 16 first clients, 30 idle ones, and 30 of them once more at the end.
    assert (command.folder / "count").stat().st_size == asked + 16 + 30 + 30
    assert asked > 200


def test_a_planted_slow_handler_is_ranked_last(started):
    command = started["slow"]
    assert command.finish() == 99, command.err
    assert result_of(command)["findings"]["p50"]["best"] == ["greenlet"]
    assert "threshold p50<15: kept by greenlet" in command.err
    assert "threshold p50<15: CROSSED by threading" in command.err


def test_a_handler_that_raises_is_one_sentence_and_status_1(compare, tmp_path):
    (tmp_path / "app.py").write_text(BROKEN)
    command = compare("app.py:Broken", *QUICK, "--mixins", "greenlet")
    assert command.finish() == 1
    assert "greenlet failed: the handler answered 0 of its first 16 clients" in command.out
    assert "planted fault" in command.out
    assert "Traceback" not in command.out + command.err
    assert result_of(command)["trials"][0]["failed"] is not None


def test_the_documentations_first_example_is_told_how_to_be_loaded(compare):
    command = compare("greensock.examples:Upper", *QUICK, "--mixins", "greenlet")
    assert command.finish() == 1
    assert "try --scenario churn --expect any" in command.out
    command = compare(
        *("greensock.examples:Upper", *QUICK, "--mixins", "greenlet"),
        *("--scenario", "churn", "--expect", "any"),
    )
    assert command.finish() == 0, command.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nonesuch:Handler"], "nonesuch cannot be imported"),
        (["--set", "nonesuch=1"], "no attribute nonesuch"),
        (["--against", "missing.json"], "missing.json"),
    ],
)
def test_a_users_mistake_is_one_line_and_status_2(compare, arguments, message):
    command = compare(*arguments, *QUICK, "--mixins", "greenlet")
    assert command.finish() == 2
    assert command.err.splitlines()[-1].startswith("greensock: ")
    assert message in command.err
    assert "Traceback" not in command.err
    assert command.processes() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_keeps_what_was_measured_and_leaves_nobody(compare, number):
    command = compare(*QUICK, "--mixins", "none,greenlet", "--run-time", "30s")
    command.wait_for("-m locust")
    command.process.send_signal(number)
    command.process.send_signal(number)
    assert command.finish() == 130
    assert "Interrupted" in command.err
    assert "Traceback" not in command.err
    assert result_of(command)["interrupted"]
    assert command.processes() == []


def test_a_server_that_dies_under_load_is_status_1(compare):
    command = compare(*QUICK, "--mixins", "greenlet", "--run-time", "30s")
    command.wait_for("-m locust")
    os.kill(command.wait_for("greensock serve"), signal.SIGKILL)
    assert command.finish() == 1
    assert "greenlet failed: the server died under load: " in command.out
    assert command.processes() == []


def test_a_locustfile_that_fails_is_status_1(compare, tmp_path):
    (tmp_path / "mine.py").write_text(
        "from greensock.loadtest import TCPUser, task\n"
        "class Mine(TCPUser):\n"
        "    @task\n"
        "    def ask(self):\n"
        "        raise RuntimeError('planted fault')\n"
    )
    command = compare(*QUICK, "--mixins", "greenlet", "-f", "mine.py")
    assert command.finish() == 1
    assert "planted fault" in command.out


def test_a_change_against_an_earlier_run_is_told(started, compare):
    first = started["old"]
    assert first.finish() == 0, first.err
    assert not (first.folder / "greensock-report").exists()
    old = str(first.folder / "old.json")
    second = compare(*QUICK, "--mixins", "greenlet", "--only-summary", "--against", old)
    assert second.finish() == 0, second.err
    assert "Since the earlier run" in second.out
    assert "one round" in second.out


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


def test_stages_and_several_locust_processes(compare, tmp_path):
    command = compare(
        *("--pin", "none", "--warmup", "200ms", "--users", "8", "--rounds", "1", "--no-plots"),
        *("--mixins", "greenlet", "--idle", "0", "--processes", "2"),
        *("--stages", "2s:40,2s:40-200"),
    )
    assert command.finish() == 0, command.err
    seconds = result_of(command)["trials"][0]["load"]["seconds"]
    assert len(seconds) == 4
    assert seconds[-1]["requests"] > 2 * seconds[0]["requests"]
    assert command.processes() == []
