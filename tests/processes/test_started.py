"""Children end with their parent, and what they use is read from outside."""

import os
import signal
import subprocess
import sys

import pytest

from greensock.compare.under_test.sampling import Sampler
from greensock.processes.interrupts import deferred_interrupts, one_interrupt
from greensock.processes.seen import children_of
from greensock.processes.started import (
    LAUNCHER,
    ChildProcess,
    announced_in,
    stop_children,
    wait_until,
)

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
        f"p = subprocess.Popen([sys.executable, {str(LAUNCHER)!r}, str(os.getpid()), '-', '-',"
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


def test_a_command_dies_of_a_closed_pipe_as_it_would_without_the_launcher():
    """The launcher is Python, which ignores the signal, and what is ignored is inherited."""
    with ChildProcess("piper", ["sh", "-c", "kill -s PIPE $$; sleep 100"]) as child:
        assert wait_until(lambda: child.poll() is not None, 30)
        assert child.poll() == -signal.SIGPIPE


def test_a_child_may_open_as_many_files_as_it_is_given():
    with ChildProcess("few", ["sh", "-c", "ulimit -n; ulimit -Hn"], open_files=77) as child:
        assert wait_until(lambda: child.poll() is not None, 30)
        assert child.stdout.read_text().split() == ["77", "77"]


def test_a_command_that_is_not_there_says_so():
    with ChildProcess("none", ["/no/such/command"]) as child:
        assert wait_until(lambda: child.poll() is not None, 30)
        assert child.poll() == 1
        assert child.last_line() == "/no/such/command: No such file or directory"


def test_the_number_of_an_ended_child_is_nobody_elses_until_it_is_stopped():
    with ChildProcess("short", ["sh", "-c", "exit 3"]) as child:
        assert wait_until(lambda: child.poll() is not None, 30)
        assert child.poll() == 3
        os.kill(child.pid, 0)
    assert child.poll() == 3
    with pytest.raises(ProcessLookupError):
        os.kill(child.pid, 0)


def test_with_a_child_end_its_own_children():
    script = "sleep 100 & echo $!; trap 'exit 7' TERM; while :; do sleep 0.01; done"
    with ChildProcess("parent", ["sh", "-c", script]) as child:
        assert wait_until(lambda: child.stdout.read_text().endswith("\n"), 30)
        grandchild = int(child.stdout.read_text())
        assert child.end(30) == 7
        assert wait_until(lambda: gone(grandchild), 30)


@pytest.mark.parametrize(
    ("said", "address"),
    [
        ("listening on tcp://127.0.0.1:8080", "tcp://127.0.0.1:8080"),
        ("loading\nINFO: listening on [::1]:8080\nready", "[::1]:8080"),
        ("listening on unix:/tmp/a folder/server.sock", "unix:/tmp/a folder/server.sock"),
        ("now listening on changes", ""),
        ("", ""),
    ],
)
def test_a_server_says_where_it_listens(said, address):
    assert announced_in(said) == address


def test_half_a_line_says_nothing_yet():
    with ChildProcess("slow", ["sh", "-c", "printf 'listening on 1.1.1.1:80'; sleep 100"]) as child:
        assert wait_until(lambda: child.stdout.stat().st_size > 0, 30)
        assert child.announced() == ""
