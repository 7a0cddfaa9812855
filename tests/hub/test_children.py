"""Children: waiting for them by pid, and the hub that a child gets for itself."""

import os
import signal
import subprocess
from collections.abc import Callable
from typing import NoReturn

import gevent
import gevent.event
import gevent.socket
import pytest
from gevent import get_hub

from greensock.hub.workers import children

from ..clients import descriptors
from ..separate_process import HERE, LIBUV, PATCHED, PATCHED_LATE, PATCHED_LIBUV, UNPATCHED
from ..server_kinds import in_every_mode

pytest_plugins = ["tests.alone"]


def fork_and(run: Callable[[], int]) -> int:
    """Run `run` in a child with a hub of its own; return its pid."""

    def run_and_exit() -> NoReturn:
        status = 99
        try:
            status = run()
        finally:
            os._exit(status)

    pid = children.fork()
    if pid == 0:
        try:
            children.run_in_child(run_and_exit)
        finally:
            os._exit(98)
    return pid


def status_of(pid: int) -> int:
    """Wait for a child as its parent may, without the help of what is tested."""
    if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT) is None:
        raise AssertionError("no such child")
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def use_everything() -> int:
    """What a handler in a child may want of gevent."""
    gevent.sleep(0.01)
    assert get_hub().threadpool.apply(len, ("four",)) == 4
    done = gevent.spawn(gevent.sleep, 0.01)
    done.join()
    reader, writer = gevent.socket.socketpair()
    gevent.spawn(writer.sendall, b"x")
    assert reader.recv(1) == b"x"
    with gevent.Timeout(0.01, False):
        reader.recv(1)
    reader.close()
    writer.close()
    return 7


def use_everything_and_run_programs() -> int:
    from gevent import subprocess as cooperative

    assert cooperative.call(["sh", "-c", "exit 3"]) == 3
    return use_everything()


def fork_from_main(hub_used: bool) -> None:
    if hub_used:
        gevent.sleep(0)
        get_hub().threadpool.apply(len, ("",))
    assert status_of(fork_and(use_everything_and_run_programs)) == 7
    assert get_hub().threadpool.apply(len, ("four",)) == 4


@in_every_mode
@pytest.mark.parametrize("hub_used", [True, False])
def test_child_of_the_main_greenlet_may_use_gevent(alone, mode: str, hub_used: bool) -> None:
    alone(mode, fork_from_main, hub_used)


def fork_from_greenlet_and_callback() -> None:
    pid = gevent.spawn(fork_and, use_everything_and_run_programs).get()
    children.wait_for_any([pid])
    pids: list[int] = []
    get_hub().loop.run_callback(lambda: pids.append(fork_and(use_everything)))
    gevent.sleep(0)
    assert status_of(pid) == 7
    assert status_of(pids[0]) == 7


@in_every_mode
def test_child_of_a_greenlet_or_a_hub_callback_may_use_gevent(alone, mode: str) -> None:
    alone(mode, fork_from_greenlet_and_callback)


def fork_from_thread() -> None:
    statuses = []

    def run() -> None:
        gevent.sleep(0)
        statuses.append(status_of(fork_and(use_everything)))
        get_hub().destroy(destroy_loop=True)

    gevent.get_hub().threadpool.apply(run)
    assert statuses == [7]


@in_every_mode
def test_child_of_another_native_thread_may_use_gevent(alone, mode: str) -> None:
    """Patched, os.fork raises there after it has forked."""
    alone(mode, fork_from_thread)


def reset_hub_beside_waiting_greenlets() -> None:
    reader, writer = gevent.socket.socketpair()
    received = gevent.spawn(reader.recv, 1)
    gevent.sleep(0.01)  # until the kernel has been told to watch
    assert status_of(fork_and(use_everything)) == 7
    writer.sendall(b"!")
    assert received.get() == b"!"
    reader.close()
    writer.close()


@pytest.mark.parametrize("mode", [HERE, UNPATCHED, PATCHED, LIBUV, PATCHED_LIBUV])
def test_parents_watchers_survive_the_childs_new_hub(alone, mode: str) -> None:
    """On libuv a child that does not reinit first unregisters them from the epoll both share."""
    alone(mode, reset_hub_beside_waiting_greenlets)


def exit_with(status: int) -> Callable[[], int]:
    return lambda: status


def watch_exits() -> None:
    exited: list[int] = []
    pids = [fork_and(exit_with(status)) for status in range(3)]
    watches = [children.ChildWatch(pid, exited.append) for pid in pids]
    while len(exited) < 3:
        gevent.sleep(0.001)
    for watch in watches:
        watch.close()
    assert sorted(exited) == sorted(pids)
    assert all(children.has_exited(pid) for pid in pids)
    # Reaped by now, whoever it was: that is an exit too.
    assert all(children.has_exited(pid) for pid in pids)


@pytest.mark.parametrize("mode", [HERE, UNPATCHED, PATCHED, LIBUV, PATCHED_LIBUV])
def test_exits_of_children_are_noticed(alone, mode: str) -> None:
    alone(mode, watch_exits)


def test_running_child_has_not_exited() -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        assert not children.has_exited(child.pid)
        child.kill()


def watch_reaped_child() -> None:
    exited: list[int] = []
    pid = fork_and(exit_with(0))
    watch = children.ChildWatch(pid, exited.append)
    status_of(pid)
    while not exited:
        gevent.sleep(0.001)
    watch.close()
    children.wait_for_exit(pid)


@in_every_mode
def test_child_that_somebody_else_has_reaped_counts_as_gone(alone, mode: str) -> None:
    alone(mode, watch_reaped_child)


def watch_without_descriptors() -> None:
    import resource

    gevent.sleep(0)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(descriptors()) + 1, limits[1]))
    spare = []
    while True:
        try:
            spare.append(os.dup(0))
        except OSError:
            break
    exited: list[int] = []
    pid = fork_and(exit_with(0))
    watch = children.ChildWatch(pid, exited.append)
    while not exited:
        gevent.sleep(0.001)
    watch.close()
    assert exited == [pid]
    children.close_descriptors(spare)
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@in_every_mode
def test_child_is_watched_without_a_free_descriptor(alone, mode: str) -> None:
    alone(mode, watch_without_descriptors)


def wait_beside_greenlets() -> None:
    reader, writer = os.pipe()

    def wait_for_byte() -> int:
        return os.read(reader, 1)[0]

    first = fork_and(wait_for_byte)
    second = fork_and(wait_for_byte)
    # Only a wait that lets other greenlets run ever ends.
    gevent.spawn(os.write, writer, b"\x05")
    children.wait_for_any([first, second])
    gevent.spawn(os.write, writer, b"\x06")
    children.wait_for_exit(first)
    children.wait_for_exit(second)
    assert children.has_exited(first)
    assert children.has_exited(second)
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize("mode", [HERE, UNPATCHED, PATCHED, LIBUV, PATCHED_LIBUV])
def test_waiting_for_children_lets_other_greenlets_run(alone, mode: str) -> None:
    alone(mode, wait_beside_greenlets)


def wait_without_hub() -> None:
    from gevent._hub_local import get_hub_if_exists

    pids = [fork_and(exit_with(0)) for _ in range(3)]
    for pid in pids:
        children.wait_for_exit(pid)
    assert get_hub_if_exists() is None


@pytest.mark.parametrize("mode", [UNPATCHED, PATCHED, LIBUV])
def test_thread_without_hub_waits_for_children_without_making_one(alone, mode: str) -> None:
    alone(mode, wait_without_hub)


def wait_for_nobody_elses_child() -> None:
    with subprocess.Popen(["sh", "-c", "exit 3"]) as other:
        own = fork_and(exit_with(0))
        children.wait_for_exit(own)
        assert other.wait() == 3


@pytest.mark.parametrize("mode", [HERE, UNPATCHED, PATCHED, LIBUV])
def test_other_peoples_children_stay_theirs(alone, mode: str) -> None:
    alone(mode, wait_for_nobody_elses_child)


def close_at_once() -> None:
    gevent.sleep(0)
    fds = [os.dup(0) for _ in range(12)]
    kept = fds.pop(5)
    children.close_descriptors(fds)
    assert not set(fds) & set(descriptors())
    # The lowest free number is given out next: they are free now, not at the loop's next turn.
    again = os.dup(0)
    assert again in fds
    children.close_descriptors([kept, again])


@pytest.mark.parametrize("mode", [HERE, PATCHED, PATCHED_LATE])
def test_descriptors_are_closed_at_once(alone, mode: str) -> None:
    """Patched, os.close is put off until the loop turns."""
    alone(mode, close_at_once)


def test_killed_child_counts_as_gone() -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        child.send_signal(signal.SIGKILL)
        children.wait_for_exit(child.pid)
        assert children.has_exited(child.pid)
        child.returncode = -signal.SIGKILL
