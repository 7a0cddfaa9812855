"""What a trial says of the contender's limits, and of its own."""

import pytest

from greensock.compare.planning.plan import Plan
from greensock.compare.results.summary import flags_of, summarise
from greensock.compare.trials.rounds import Comparison
from greensock.loadtest.schedule import Stage
from tests.compare.side_by_side import plan_for, run_side_by_side

APP = """
import time
from greensock import BaseRequestHandler, KeepAliveRequestHandler

class Slow(KeepAliveRequestHandler):
    def handle_one_request(self):
        line = self.rfile.readline()
        time.sleep(0.02)
        self.wfile.write(line)

class Lengths(BaseRequestHandler):
    '''A byte with the length, then so many bytes; anything else ends the connection.'''

    def handle(self):
        while head := self.request.recv(1):
            data = self.request.recv(head[0])
            if len(data) < head[0] or head[0] > 9:
                return
            self.request.sendall(head + data)

class Broken(BaseRequestHandler):
    def handle(self):
        self.request.recv(100)
        raise ValueError("planted fault")
"""

LOCUSTFILE = """
from greensock.loadtest import TCPUser, schedule_from_command_line, task

class LengthsUser(TCPUser):
    wait_time = schedule_from_command_line(rate=40)

    @task
    def ask(self):
        self.client.exchange(b"\\x05hello", "ask", expect=6)
"""

# Of the searches below, who is at the limit.
LIMITS = {"fast": "generator", "slow": "contender"}


def rising(target: str, *rates: float) -> Plan:
    """A search of its own for the highest rate."""
    stages = tuple(Stage(3.0, rate) for rate in rates)
    return Plan(target=target, users=10, rate=None, stages=stages, warmup=0.2, rounds=1, idle=0)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("limits")
    app, locustfile = folder / "app.py", folder / "locust_lengths.py"
    app.write_text(APP)
    locustfile.write_text(LOCUSTFILE)
    own = [f"{app}:Lengths", "-f", str(locustfile), "--users", "2"]
    udp = ["--scenario", "udp", "--users", "2", "--rate", "20"]
    trials = {
        # Far more than one locust can ask for, and the server is idle half of the time.
        "fast": (rising("greensock.examples:Echo", 50, 60_000), "greenlet"),
        # Fifty a second at most, and nobody's CPU is busy.
        "slow": (rising(f"{app}:Slow", 20, 400), "none"),
        "unproved": (plan_for(*own, "--idle", "20"), "greenlet"),
        "unaccepted": (plan_for(*own, "--idle", "5"), "none"),
        "probed": (
            plan_for(*own, "--idle", "20", "--idle-probe", r"\x02ab", "--expect", "len"),
            "greenlet",
        ),
        "misled": (plan_for(*own, "--idle", "2", "--idle-probe", r"zz\n"), "greenlet"),
        "broken": (plan_for(f"{app}:Broken", *own[1:]), "threading"),
        "other datagrams": (plan_for("greensock.examples:Upper", *udp), "greenlet"),
        "any datagrams": (
            plan_for("greensock.examples:Upper", *udp, "--expect", "any"),
            "greenlet",
        ),
    }
    # By itself: what asks for all of a CPU would have the others measured wrong.
    alone = {"fast": trials["fast"]}
    rest = {name: trial for name, trial in trials.items() if name != "fast"}
    found = run_side_by_side(alone, folder) | run_side_by_side(rest, folder)
    # A machine that is busy with all these keeps one of a step's few requests for over 100 ms, or
    # its CPUs from the generator; and then says so of the wrong one.
    for number in range(3):
        disturbed = [name for name in ("fast", "slow") if found[name].search.limit != LIMITS[name]]
        disturbed += ["slow"] if found["slow"].search.best is None else []
        for name in dict.fromkeys(disturbed):
            found |= run_side_by_side({name: trials[name]}, folder / f"again-{number}")
    return trials, found


def test_a_contender_that_cannot_hold_a_rate_is_the_limit(finished):
    trial = finished[1]["slow"]
    assert trial.failed is None
    assert trial.search.limit == LIMITS["slow"]
    assert trial.search.best.asked == 20
    assert [step.held for step in trial.search.steps] == [True, False]


def test_a_generator_that_cannot_ask_for_more_is_the_limit(finished):
    plans, trials = finished
    trial = trials["fast"]
    assert trial.failed is None
    assert trial.search.limit == LIMITS["fast"]
    plan = plans["fast"][0]
    assert any(flag.startswith("generator limit: ") for flag in flags_of(trial, plan))
    (summary,) = summarise(Comparison(plan, trials=[trial]))
    assert any(flag.startswith("generator limit ") for flag in summary.flags)


def test_without_a_probe_the_accept_queue_is_the_proof(finished):
    trial = finished[1]["unproved"]
    assert trial.failed is None
    assert (trial.idle.held, trial.idle.proof, trial.idle.lost) == (20, "accept queue", 0)
    assert (trial.idle.unaccepted, trial.idle.pinged) == (0, 0)
    # A client of a handler with its own handle() keeps a greenlet, even before it says a word.
    assert trial.idle.greenlets > 20
    assert trial.load.failures == 0


def test_clients_that_wait_to_be_accepted_are_not_held(finished):
    idle = finished[1]["unaccepted"].idle
    assert (idle.held, idle.unaccepted, idle.let_go) == (1, 4, True)
    assert finished[1]["unaccepted"].load.requests > 0


def test_a_probe_in_the_protocols_own_words(finished):
    trial = finished[1]["probed"]
    assert trial.failed is None
    assert (trial.idle.held, trial.idle.proof, trial.idle.pinged) == (20, "exchange", 20)
    assert trial.idle.ping_answers == 20


def test_a_probe_that_the_handler_does_not_understand_is_told(finished):
    assert "answered 0 of its first 16 clients" in finished[1]["misled"].failed


def test_a_handler_that_raises_at_every_request_of_an_own_locustfile_has_failed(finished):
    trial = finished[1]["broken"]
    assert trial.failed.startswith("all requests failed (most of all ask: ")
    assert trial.load.failures > 0
    assert any("planted fault" in line for line in trial.stderr_tail)


def test_datagrams_are_checked_before_the_load(finished):
    said = finished[1]["other datagrams"].failed
    assert "answered 0 of its first 16 datagrams (a reply that differs from" in said
    assert "--expect any" in said
    assert finished[1]["other datagrams"].load.requests == 0
    trial = finished[1]["any datagrams"]
    assert trial.failed is None
    assert trial.load.requests > 0
    assert trial.load.failures == 0
