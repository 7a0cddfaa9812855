"""Pooled greenlets: used again, but never by anyone who could tell."""

import contextvars
import threading
import weakref
from collections.abc import Callable
from typing import Any

import gevent
import gevent.event
import gevent.local
import pytest
from gevent import getcurrent

from greensock.hub.workers.greenlet_pool import GreenletPool
from greensock.testing import running

from ..clients import ask, connect
from ..separate_process import HERE, LIBUV, PATCHED, PATCHED_LIBUV, UNPATCHED
from ..server_kinds import GREENLET, Echo, make_server

pytest_plugins = ["tests.alone"]

everywhere = pytest.mark.parametrize("mode", [HERE, PATCHED, LIBUV])
# What gevent says of a timeout whose greenlet has ended.
ends_unheard = pytest.mark.expect_warnings("failed with Timeout")

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")


class Jobs:
    """A pool whose jobs are functions; each may block."""

    def __init__(self, limit: int | None = None) -> None:
        self.pool = GreenletPool(self.run, lambda: limit)

    def run(self, job: Callable[[], Any]) -> bool:
        return bool(job())

    def do(self, *jobs: Callable[[], Any]) -> None:
        """Run `jobs` one after the other, each once the one before has ended."""
        for job in jobs:
            self.pool.submit(job)
            self.pool.join()

    def close(self) -> None:
        self.pool.close()


def identity() -> int:
    """Which greenlet this is, without keeping it."""
    return id(getcurrent())


def block() -> None:
    gevent.sleep(0.001)


def reuse_worker() -> None:
    jobs = Jobs()
    seen: list[int] = []
    jobs.do(*[lambda: seen.append(identity())] * 3)
    jobs.do(*[lambda: (seen.append(identity()), block())[1]] * 3)
    assert len(set(seen)) == 1
    jobs.close()


@everywhere
def test_worker_is_used_again(alone, mode: str) -> None:
    """The control of all below: a job that leaves nothing behind is followed on its greenlet."""
    alone(mode, reuse_worker)


def leave_context_variable() -> None:
    variable.set("mine")


local: Any = None


def leave_gevent_local() -> None:
    local.value = "mine"


def leave_threading_local() -> None:
    thread_local.value = "mine"


thread_local = threading.local()
kept: list[Any] = []


def leave_timeout() -> None:
    kept.append(gevent.Timeout.start_new(0.008))


def leave_reference() -> None:
    kept.append(getcurrent())


def leave_weak_reference() -> None:
    kept.append(weakref.ref(getcurrent()))


def leave_attribute() -> None:
    getcurrent().mine = "mine"


def leave_kill() -> None:
    """Whoever registered a greenlet may kill it once it is somebody else's."""
    gevent.spawn_later(0.005, gevent.kill, getcurrent())


LEFT = {
    each.__name__: each
    for each in (
        leave_context_variable,
        leave_gevent_local,
        leave_threading_local,
        leave_timeout,
        leave_reference,
        leave_weak_reference,
        leave_attribute,
        leave_kill,
    )
}


def find_traces(patched: bool) -> str:
    found = []
    if variable.get(None) is not None:
        found.append("context variable")
    if hasattr(local, "value"):
        found.append("gevent.local")
    if patched and hasattr(thread_local, "value"):
        found.append("threading.local")
    if hasattr(getcurrent(), "mine"):
        found.append("attribute")
    try:
        gevent.sleep(0.02)
    except BaseException as error:  # noqa: BLE001
        found.append(repr(error))
    return ", ".join(found)


def look_for_traces(left: str, blocks_after: bool) -> None:
    global local, thread_local
    from gevent import monkey

    local = gevent.local.local()
    thread_local = threading.local()
    patched = monkey.is_module_patched("threading")
    found: list[str] = []

    def leave() -> None:
        LEFT[left]()
        if blocks_after:
            block()

    jobs = Jobs()
    # Several at rest, so that whichever is taken next has been used.
    jobs.do(leave, lambda: found.append(find_traces(patched)))
    jobs.do(leave, leave, lambda: found.append(find_traces(patched)))
    assert found == ["", ""]
    kept.clear()
    jobs.close()


@everywhere
@pytest.mark.parametrize("blocks_after", [False, True])
@pytest.mark.parametrize(
    "left",
    [pytest.param(left, marks=ends_unheard if left == "leave_timeout" else ()) for left in LEFT],
)
def test_nothing_left_behind_reaches_the_next_job(
    alone, mode: str, left: str, blocks_after: bool
) -> None:
    if left == "leave_timeout" and mode in (LIBUV, PATCHED_LIBUV):
        pytest.skip("on libuv gevent raises it in the main greenlet once its own has ended")
    alone(mode, look_for_traces, left, blocks_after)


def kill_idle_worker() -> None:
    jobs = Jobs()
    ran: list[int] = []
    jobs.do(lambda: kept.append(getcurrent()))
    gevent.kill(kept[0])
    kept.clear()
    jobs.do(lambda: ran.append(1), lambda: ran.append(2))
    assert ran == [1, 2]
    jobs.close()


@everywhere
def test_killed_idle_worker_loses_no_job(alone, mode: str) -> None:
    alone(mode, kill_idle_worker)


def keep_to_limit() -> None:
    jobs = Jobs(limit=2)
    most = [0]

    def job() -> None:
        most[0] = max(most[0], jobs.pool.busy)
        block()

    for _ in range(10):
        jobs.pool.submit(job)
    jobs.pool.join()
    assert most == [2]
    jobs.close()


@everywhere
def test_no_more_workers_are_busy_than_allowed(alone, mode: str) -> None:
    alone(mode, keep_to_limit)


def go_on_after_blocking() -> None:
    jobs = Jobs()
    left = [3]

    def job() -> bool:
        block()
        left[0] -= 1
        return left[0] > 0

    jobs.pool.submit(job)
    jobs.pool.join()
    assert left == [0]
    jobs.close()


@everywhere
def test_job_that_blocked_may_want_to_go_on(alone, mode: str) -> None:
    alone(mode, go_on_after_blocking)


def kill_blocked() -> None:
    ended: list[str] = []

    def job() -> None:
        try:
            gevent.sleep(60)
        finally:
            ended.append("finally")

    jobs = Jobs()

    def run(job: Callable[[], Any]) -> bool:
        try:
            job()
        except gevent.GreenletExit:
            ended.append("exit")
        return False

    jobs.pool = GreenletPool(run, lambda: None)
    for _ in range(3):
        jobs.pool.submit(job)
    gevent.sleep(0.001)
    assert jobs.pool.busy == 3
    jobs.pool.kill()
    jobs.pool.join()
    assert ended == ["finally", "exit"] * 3
    jobs.close()


@everywhere
def test_killed_jobs_run_their_finally(alone, mode: str) -> None:
    alone(mode, kill_blocked)


def close_amid_jobs() -> None:
    done: list[int] = []
    go_on = gevent.event.Event()
    jobs = Jobs()

    def wait_and_note(number: int) -> None:
        go_on.wait()
        done.append(number)

    jobs.do(block)
    for number in range(3):
        jobs.pool.submit(lambda number=number: wait_and_note(number))
    jobs.pool.submit(lambda: done.append(3))
    jobs.close()
    assert done == [3]
    go_on.set()
    jobs.pool.join()
    jobs.do(lambda: done.append(4))
    assert sorted(done) == [0, 1, 2, 3, 4]
    assert jobs.pool.busy == 0


@everywhere
def test_closed_pool_finishes_its_jobs_and_keeps_no_worker(alone, mode: str) -> None:
    """The queued jobs go to workers, the idle one too, that were to be ended."""
    alone(mode, close_amid_jobs)


def close_amid_unfinished_job() -> None:
    turns = 0

    def go_on() -> bool:
        nonlocal turns
        turns += 1
        return turns < 5

    jobs = Jobs()
    jobs.pool.submit(go_on)
    gevent.sleep(0)
    assert turns
    jobs.close()
    jobs.pool.join()
    assert turns == 5


@everywhere
def test_closed_pool_goes_on_with_what_yielded(alone, mode: str) -> None:
    alone(mode, close_amid_unfinished_job)


class Leaving(Echo):
    """A handler that leaves all of it behind, and says what it found."""

    def handle_one_request(self) -> None:
        from gevent import monkey

        self.rfile.readline()
        found = find_traces(bool(monkey.is_module_patched("threading")))
        for leave in (leave_context_variable, leave_gevent_local, leave_threading_local):
            leave()
        leave_timeout()
        self.wfile.write(found.encode() + b"\n")


def serve_two_clients() -> None:
    global local, thread_local
    local = gevent.local.local()
    thread_local = threading.local()
    with (
        running(make_server(GREENLET, Leaving)) as address,
        connect(address) as first,
        connect(address) as second,
    ):
        for client in (first, second):
            assert ask(client, b"?\n") == b"\n"
        for client in (first, second):
            # Its own, which is kept for it.
            assert ask(client, b"?\n") == b"context variable\n"
    kept.clear()


@ends_unheard
@pytest.mark.parametrize("mode", [UNPATCHED, PATCHED])
def test_nothing_of_one_client_reaches_another(alone, mode: str) -> None:
    alone(mode, serve_two_clients)
