"""Options that would change nothing are refused, and what a contender ignores is told."""

import argparse

import pytest

from greensock.arguments.usage import UsageError
from greensock.compare.planning.options import add_options, understand
from greensock.compare.planning.plan import Plan, choose_contenders
from tests.compare.side_by_side import plan_for, run_side_by_side

OWN_RATE = """
from greensock.loadtest import Schedule, TCPUser, task

class EchoUser(TCPUser):
    wait_time = Schedule(rate=20)

    @task
    def ask(self):
        self.client.exchange(b"hello\\n", "ask")
"""


def understood(*options: str) -> Plan:
    parser = argparse.ArgumentParser()
    add_options(parser)
    return understand(parser.parse_args(list(options)), open_files=20_000)[0]


@pytest.fixture
def locustfile(tmp_path):
    path = tmp_path / "locust_own.py"
    path.write_text(OWN_RATE)
    return str(path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("-f", "FILE", "--payload-size", "9"), "--payload-size would do nothing: a locustfile"),
        (("-f", "FILE", "--timeout", "9s"), "--timeout would do nothing"),
        (("-f", "FILE", "--seed", "9"), "--seed would do nothing"),
        (("-f", "FILE", "--expect", "any"), "--expect would do nothing"),
        (("-f", "FILE", "--idle-probe", "x"), "--idle-probe would do nothing"),
        (("--scenario", "http", "--payload-size", "9"), "--payload-size would do nothing"),
        (("--rate", "0", "--arrivals", "poisson"), "--arrivals would do nothing: in a closed"),
        (("--idle", "0", "--idle-source", "127.0.0.1"), "--idle-source would do nothing"),
        (("--scenario", "udp", "--idle-probe", "x"), "--idle-probe would do nothing"),
        (("--mixins", "greenlet", "--max-threads", "9"), "--max-threads would do nothing"),
        (("--mixins", "greenlet", "--max-children", "9"), "--max-children would do nothing"),
        (("--tags", "a"), "--tags would do nothing"),
        (("--exclude-tags", "a"), "--exclude-tags would do nothing"),
        (("--only-summary", "--out", "x"), "--out would do nothing: --only-summary"),
        (("--only-summary", "--keep-logs"), "--keep-logs would do nothing: --only-summary"),
    ],
)
def test_option_that_changes_nothing_is_refused(locustfile, options, message):
    told = [locustfile if text == "FILE" else text for text in options]
    with pytest.raises(UsageError, match=f"^{message}"):
        understood(*told)


@pytest.mark.parametrize(
    "options",
    [
        ("-f", "FILE", "--idle", "5", "--idle-probe", "x", "--expect", "any"),
        ("-f", "FILE", "--tags", "a", "--rate", "9", "--arrivals", "poisson"),
        ("--rate", "9", "--arrivals", "poisson", "--payload-size", "9", "--seed", "1"),
        ("--stages", "1s:10", "--arrivals", "poisson"),
        ("--mixins", "stdlib-forking", "--max-children", "9"),
        ("--mixins", "threading", "--max-threads", "9", "--only-summary", "--json", "-"),
    ],
)
def test_others_are_not(locustfile, options):
    understood(*[locustfile if text == "FILE" else text for text in options])


def test_what_pyproject_says_for_other_commands_is_not(tmp_path, monkeypatch):
    (tmp_path / "pyproject.toml").write_text("[tool.greensock.compare]\nmax-threads = 9\n")
    monkeypatch.chdir(tmp_path)
    assert understood("--mixins", "greenlet").max_threads == 9


def test_peers_that_are_named_are_all():
    assert choose_contenders("greenlet,stdlib-threading", True) == ("greenlet", "stdlib-threading")
    assert len(choose_contenders("greenlet", True)) == 8
    assert len(choose_contenders(None, True)) == 11
    assert choose_contenders("greenlet", True, is_program=True) == (
        "greenlet",
        "stdlib-threading",
        "patched-threading",
    )


def test_what_runs_says_so_too(tmp_path, locustfile):
    settings = ("--set", "idle_timeout=9", "--set", "Echo.timeout=9", "--set", "timeout=8")
    own = ("greensock.examples:Echo", "-f", locustfile, "--users", "2")
    trials = {
        "rate": (plan_for(*own, "--rate", "9"), "greenlet"),
        "stages": (plan_for(*own, "--stages", "1s:9"), "greenlet"),
        "settings": (plan_for("--idle", "0", *settings), "stdlib-threading"),
        "unknown": (
            plan_for("greensock.examples:ClassicEcho", "--idle", "0", "--expect", "regex:never"),
            "greenlet",
        ),
    }
    done = run_side_by_side(trials, tmp_path)
    for name in ("rate", "stages"):
        assert done[name].refused
        assert f"--{name} would do nothing: the locustfile asks" in str(done[name].failed)
        assert "schedule_from_command_line" in str(done[name].failed)
    assert done["settings"].failed is None
    assert done["settings"].notes == ["--set idle_timeout=9 does nothing here"]
    for text in ('each was sent "iii', "(64 bytes)", "--expect regex:never", "--locustfile"):
        assert text in str(done["unknown"].failed)
