"""Every scenario runs, under two mixins, and every peer serves."""

import pytest

from greensock.compare.planning.contenders import PEERS
from greensock.compare.scenarios import SCENARIOS
from tests.compare.side_by_side import plan_for, run_side_by_side

MIXINS = ("greenlet", "threading")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A trial of every scenario under two mixins, and one of every peer."""
    trials = {}
    for name, scenario in SCENARIOS.items():
        # Also those that would run in a closed loop: it would be nothing but a busy machine.
        rate = ["--rate", "10" if name == "large" else "40"]
        idle = ["--idle", "20" if scenario.idle else "0"]
        plan = plan_for("--scenario", name, "--users", "4", "--timeout", "5s", *rate, *idle)
        trials |= {f"{name}-{mixin}": (plan, mixin) for mixin in MIXINS}
    plan = plan_for("greensock.examples:ClassicEcho", "--users", "4", "--rate", "40", "--idle", "5")
    trials |= {name: (plan, name) for name in PEERS}
    return run_side_by_side(trials, tmp_path_factory.mktemp("scenarios"))


@pytest.mark.parametrize("mixin", MIXINS)
@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scenario_is_answered_without_failures(finished, name, mixin):
    trial = finished[f"{name}-{mixin}"]
    assert trial.failed is None
    assert trial.load.requests > 0
    assert trial.load.failures == 0, trial.load.errors
    assert trial.idle.held == trial.idle.asked
    assert trial.idle.lost == 0
    assert trial.greenlets is not None
    assert trial.greenlets > 0


def test_in_a_mixed_load_both_kinds_of_requests_are_made(finished):
    # One request in twenty is long: of one mixin alone, on a busy machine, there may be none.
    loads = [finished[f"mixed-{mixin}"].load for mixin in MIXINS]
    assert {"short", "long"} <= {row[1] for load in loads for row in load.collected["seconds"]}


@pytest.mark.parametrize("name", PEERS)
def test_a_peer_serves_an_ordinary_handler(finished, name):
    trial = finished[name]
    assert trial.failed is None, trial.stderr_tail
    assert trial.load.requests > 0
    # One that serves client after client never gets to the second of the idle ones.
    assert trial.idle.held == (1 if name == "stdlib-none" else 5)


def test_a_peers_clients_keep_what_the_table_counts(finished):
    """Five clients that stay keep a thread, a child or a greenlet each, and it is seen."""
    assert max(sample.threads for sample in finished["stdlib-threading"].samples) > 5
    assert max(sample.processes for sample in finished["stdlib-forking"].samples) > 5
    for name in ("patched-threading", "gevent-streamserver", "patched-streamserver"):
        assert finished[name].idle.greenlets > 5
        assert max(sample.threads for sample in finished[name].samples) <= 3
