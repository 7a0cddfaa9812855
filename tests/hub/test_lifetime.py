"""Whose hub it is: programs in a fresh interpreter, where the order of imports matters."""

import signal
import socket
import subprocess
import sys
import textwrap
import threading

import gevent
import pytest
from gevent import get_hub
from gevent._hub_local import get_hub_if_exists

from greensock.hub import lifetime

from ..separate_process import REPOSITORY, STUCK


def run_program(program: str) -> str:
    """What a program prints; it is stuck if it takes too long."""
    program = f"import faulthandler\nfaulthandler.dump_traceback_later({STUCK}, exit=True)\n" + (
        textwrap.dedent(program)
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_two_threads_may_make_their_first_hubs_at_once_when_patched() -> None:
    """gevent imports what a hub needs lazily, under the import lock: without us, a deadlock."""
    assert (
        run_program(
            """
        from gevent import monkey
        monkey.patch_all()
        import greensock
        from gevent import get_hub
        start = monkey.get_original("_thread", "start_new_thread")
        allocate = monkey.get_original("_thread", "allocate_lock")
        ended = [allocate(), allocate()]
        ready = []
        def make_hub(lock):
            ready.append(1)
            while len(ready) < 2:
                pass
            get_hub()
            lock.release()
        for lock in ended:
            lock.acquire()
            start(make_hub, (lock,))
        for lock in ended:
            lock.acquire()
        print("both")
        """
        )
        == "both\n"
    )


IMPORTED_IN_A_THREAD = """
import signal, sys, threading
{patch}
def load():
    import greensock
thread = threading.Thread(target=load)
thread.start()
thread.join()
import greensock
with greensock.GreenletTCPServer(("127.0.0.1", 0), greensock.StreamRequestHandler) as server:
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        print("interrupted")
"""


def test_ctrl_c_is_noticed_though_gevent_was_imported_in_a_thread() -> None:
    """gevent takes the importing thread for the main one, and an idle loop notices no signal."""
    program = IMPORTED_IN_A_THREAD.format(patch="")
    assert run_program(program) == "interrupted\n"


def test_interrupt_of_an_idle_program_is_noticed() -> None:
    program = """
    import greensock
    server = greensock.TCPServer(("127.0.0.1", 0), greensock.StreamRequestHandler)
    try:
        print("ready", flush=True)
        server.serve_forever()
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    server.server_close()
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=REPOSITORY,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.read() == "interrupted\n"
        assert process.wait(STUCK) == 0


def test_hub_made_for_serving_ends_with_it() -> None:
    facts: list[object] = []

    def borrow() -> None:
        with lifetime.borrowed_hub() as ends:
            facts.append((ends, get_hub_if_exists() is not None))
        facts.append(get_hub_if_exists())

    thread = threading.Thread(target=borrow)
    thread.start()
    thread.join()
    assert facts == [(True, True), None]


def test_hub_that_was_there_stays() -> None:
    facts: list[object] = []

    def borrow() -> None:
        hub = get_hub()
        with lifetime.borrowed_hub() as ends:
            facts.append(ends)
        facts.append(get_hub_if_exists() is hub)
        hub.destroy(destroy_loop=True)

    thread = threading.Thread(target=borrow)
    thread.start()
    thread.join()
    assert facts == [False, True]


@pytest.mark.parametrize("failure", [LookupError, KeyboardInterrupt])
def test_main_threads_hub_stays(failure: type[BaseException]) -> None:
    hub = get_hub()
    facts: list[bool] = []

    def fail() -> None:
        with lifetime.borrowed_hub() as ends:
            facts.append(ends)
            raise failure

    with pytest.raises(failure):
        fail()
    assert facts == [False]
    assert get_hub() is hub
    gevent.sleep(0)


def wakeup_fd() -> int:
    fd = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(fd)
    return fd


def test_signals_wake_the_main_threads_loop() -> None:
    """One that comes just before the loop sleeps interrupts nothing: only a descriptor wakes it."""
    assert wakeup_fd() == -1
    with lifetime.borrowed_hub():
        first = wakeup_fd()
        assert first != -1
        with lifetime.borrowed_hub():
            assert wakeup_fd() == first
        assert wakeup_fd() == first
        woken = []
        old = signal.signal(signal.SIGUSR2, lambda *_: woken.append("handler"))
        signal.raise_signal(signal.SIGUSR2)
        signal.signal(signal.SIGUSR2, old)
        # The byte is there, and is taken by the loop.
        gevent.sleep(0.001)
        assert woken == ["handler"]
    assert wakeup_fd() == -1


def test_wakeup_of_the_programs_own_is_left_alone() -> None:
    reader, writer = socket.socketpair()
    with reader, writer:
        writer.setblocking(False)
        signal.set_wakeup_fd(writer.fileno())
        try:
            with lifetime.borrowed_hub():
                assert wakeup_fd() == writer.fileno()
            assert wakeup_fd() == writer.fileno()
        finally:
            signal.set_wakeup_fd(-1)
