"""One trial, watched."""

import os
import signal
import threading

from greensock.compare.planning.contenders import Contender
from greensock.compare.planning.plan import Plan
from greensock.compare.trials.trial import run_trial


class Stopper:
    """Stops the server for one second, once the load has been running for a while."""

    def __init__(self):
        self.server = 0
        self.stopped = False

    def phase(self, text):
        pass

    def server_started(self, pid):
        self.server = pid

    def reading(self, sample, running_totals):
        if not self.stopped and running_totals is not None and running_totals["requests"] > 150:
            self.stopped = True
            os.kill(self.server, signal.SIGSTOP)
            threading.Timer(1.0, os.kill, (self.server, signal.SIGCONT)).start()


def test_a_server_that_stands_still_for_a_second_shows_in_the_percentiles(tmp_path):
    plan = Plan(users=10, rate=100.0, warmup=1.0, run_time=4.0, rounds=1, idle=0)
    stopper = Stopper()
    trial = run_trial(Contender("greenlet"), 1, plan, tmp_path / "trial", stopper)
    assert stopper.stopped
    assert trial.failed is None
    # About a quarter of the arrivals fell into that second. Had only those been counted that
    # were under way when it began, there would be ten of 400, and p95 would not show it.
    assert trial.load.p95 is not None
    assert trial.load.p95 > 300
    assert trial.load.requests > 350
