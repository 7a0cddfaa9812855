"""Every scenario runs, under two mixins, and every peer serves."""

import json

import pytest

from greensock.compare.contenders import PEERS
from greensock.compare.scenarios import SCENARIOS
from tests.compare.conftest import Command

SHORT = ["--pin", "none", "--run-time", "2s", "--warmup", "200ms", "--rounds", "1"]
ASIDE = ["--only-summary", "--json", "result.json", "--users", "4", "--timeout", "5s"]
AT_ONCE = 3  # nothing here is a measurement, so they may share the CPUs


def run_all(commands):
    """Run all of them, some at a time; the results by name."""
    results = {}
    names = list(commands)
    for first in range(0, len(names), AT_ONCE):
        started = {}
        for name in names[first : first + AT_ONCE]:
            folder, options = commands[name]
            folder.mkdir()
            started[name] = Command(folder, *SHORT, *ASIDE, *options)
        for name, command in started.items():
            status = command.finish()
            assert command.processes() == []
            results[name] = status, command.out + command.err, command.folder / "result.json"
    return results


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """One comparison per scenario and two of all peers, run side by side."""
    root = tmp_path_factory.mktemp("scenarios")
    commands = {}
    for name, scenario in SCENARIOS.items():
        rate = [] if name == "compute" else ["--rate", "40"]
        idle = ["--idle", "20" if scenario.idle else "0"]
        options = ["--scenario", name, "--mixins", "greenlet,threading", *rate, *idle]
        commands[name] = root / name, options
    peers = ["--mixins", ",".join(PEERS), "--rate", "40", "--idle", "5"]
    commands["peers"] = root / "peers", ["greensock.examples:ClassicEcho", *peers]
    return run_all(commands)


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scenario_is_answered_without_failures(finished, name):
    status, said, path = finished[name]
    assert status == 0, said
    for trial in json.loads(path.read_text())["trials"]:
        assert trial["load"]["requests"] > 0
        assert trial["load"]["failures"] == 0, trial["load"]["errors"]
        assert trial["idle"]["held"] == trial["idle"]["asked"]


def test_every_peer_serves_an_ordinary_handler(finished):
    status, said, path = finished["peers"]
    assert status == 0, said
    served = {}
    for trial in json.loads(path.read_text())["trials"]:
        served[trial["contender"]] = trial["load"]["requests"]
        if trial["contender"] != "stdlib-none":
            assert trial["idle"]["held"] == 5
    assert set(served) == set(PEERS)
    assert min(served.values()) > 0
