"""Children end with their parent, and what they use is read from outside."""

import os
import signal
import subprocess
import sys

import pytest

from greensock.compare.under_test.sampling import Sampler
from greensock.processes.interrupts import deferred_interrupts, one_interrupt
from greensock.processes.seen import children_of
from greensock.processes.started import LAUNCHER, ChildProcess, stop_children, wait_until

BURN = """
import os, time
def burn(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end: pass
if os.fork() == 0:
    burn(0.3); os._exit(0)
os.wait()
child = os.fork()
if child == 0:
    held = bytearray(b"x" * (20 << 20)); burn(0.2)
    print("ready", flush=True); time.sleep(100)
time.sleep(100)
"""


def gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rsplit(")", 1)[1].split()[0] == "Z"


def test_the_readings_include_live_and_ended_children(tmp_path):
    with ChildProcess("burn", [sys.executable, "-c", BURN], tmp_path) as child:
        assert wait_until(lambda: "ready" in child.stdout.read_text(), 30)
        sample = Sampler(child.pid).read(with_memory=True)
        assert (sample.processes, sample.threads) == (2, 2)
        assert sample.cpu >= 0.45
        assert sample.pss is not None
        assert sample.pss > 20 << 20


def test_stopping_takes_the_children_along(tmp_path):
    with ChildProcess("burn", [sys.executable, "-c", BURN], tmp_path) as child:
        assert wait_until(lambda: "ready" in child.stdout.read_text(), 30)
        (grandchild,) = children_of(child.pid)
    assert wait_until(lambda: gone(grandchild), 10)


def test_a_child_dies_with_a_killed_parent():
    script = (
        "import subprocess, sys, os\n"
        f"p = subprocess.Popen([sys.executable, {str(LAUNCHER)!r}, str(os.getpid()), '-',"
        " sys.executable, '-c', 'import time; print(1, flush=True); time.sleep(100)'],"
        " stdout=subprocess.PIPE)\n"
        "p.stdout.readline()\n"
        "print(p.pid, flush=True)\n"
        "p.wait()\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as parent:
        child = int(parent.stdout.readline())
        parent.kill()
    assert wait_until(lambda: gone(child), 10)


def test_a_child_that_ignores_sigterm_is_killed(tmp_path):
    script = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "print('ready', flush=True); time.sleep(100)"
    )
    child = ChildProcess("stubborn", [sys.executable, "-c", script], tmp_path)
    assert wait_until(lambda: "ready" in child.stdout.read_text(), 30)
    assert child.stop(grace=0.2) == -signal.SIGKILL


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one CPU")
def test_a_pinned_child_runs_on_its_cpus_only(tmp_path):
    cpu = max(os.sched_getaffinity(0))
    script = "import os; print(sorted(os.sched_getaffinity(0)), flush=True)"
    child = ChildProcess("pinned", [sys.executable, "-c", script], tmp_path, cpus=[cpu])
    assert child.process.wait() == 0
    assert child.stdout.read_text().strip() == f"[{cpu}]"
    child.stop()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_deferred_interrupt_comes_once_and_at_the_end(number):
    reached = []

    def be_interrupted():
        with deferred_interrupts():
            signal.raise_signal(number)
            signal.raise_signal(number)
            reached.append("the end")

    with one_interrupt():
        with pytest.raises(KeyboardInterrupt):
            be_interrupted()
        be_interrupted()
    assert reached == ["the end", "the end"]


def test_a_child_started_amid_an_interrupt_is_stopped(tmp_path):
    """Interrupted once its process is there, and before its `with` block is entered."""
    script = "import time; time.sleep(100)"

    class Interrupted(ChildProcess):
        def __init__(self):
            with deferred_interrupts():
                signal.raise_signal(signal.SIGTERM)
                super().__init__("late", [sys.executable, "-c", script], tmp_path)
                children.append(self.pid)

    children = []
    with one_interrupt(), pytest.raises(KeyboardInterrupt), Interrupted():
        raise AssertionError("it was not interrupted")
    (pid,) = children
    assert not gone(pid)
    stop_children()
    assert gone(pid)


def test_what_was_ignored_interrupts_nothing():
    """As nohup has it: the terminal's end is not the comparison's."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with one_interrupt(), deferred_interrupts():
            signal.raise_signal(signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
