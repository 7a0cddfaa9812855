"""Waking a hub from other threads, and waiting without one."""

import _thread
import signal
import threading
from typing import Any

import gevent
import pytest
from gevent import get_hub, monkey
from gevent._hub_local import get_hub_if_exists

from greensock.hub.waking import Latch, Waker

from ..separate_process import HERE, LIBUV, PATCHED, PATCHED_LIBUV, UNPATCHED

pytest_plugins = ["tests.alone"]

everywhere = pytest.mark.parametrize("mode", [HERE, UNPATCHED, PATCHED, LIBUV, PATCHED_LIBUV])


def native_thread(function: Any, *arguments: Any) -> Any:
    """Run in a native thread; returns a lock that is free once it has ended."""
    ended: Any = monkey.get_original("_thread", "allocate_lock")()
    ended.acquire()

    def run() -> None:
        try:
            function(*arguments)
        finally:
            ended.release()

    start: Any = monkey.get_original("_thread", "start_new_thread")
    start(run, ())
    return ended


def wake_many_times() -> None:
    calls: list[None] = []
    waker = Waker(lambda: calls.append(None))
    ended = native_thread(lambda: [waker.wake() for _ in range(20_000)])
    ended.acquire()
    gevent.sleep(0.001)
    assert 1 <= len(calls) < 100
    waker.close()
    waker.wake()
    waker.close()
    count = len(calls)
    gevent.sleep(0.001)
    assert len(calls) == count


@everywhere
def test_many_wakes_are_one_and_after_the_end_none(alone, mode: str) -> None:
    alone(mode, wake_many_times)


def keep_hub_waiting() -> None:
    """Nothing else is alive: the hub must not conclude that nothing can happen."""
    main = gevent.getcurrent()
    waker = Waker(main.switch)
    ended = native_thread(waker.wake)
    get_hub().switch()
    waker.close()
    ended.acquire()


@everywhere
def test_waker_is_something_to_wait_for(alone, mode: str) -> None:
    alone(mode, keep_hub_waiting)


def wake_from_interrupting_handler() -> None:
    waker = Waker(lambda: None)
    signal.signal(signal.SIGALRM, lambda *_: waker.wake())
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.0005)
    for _ in range(200_000):
        waker.wake()
    signal.setitimer(signal.ITIMER_REAL, 0)
    waker.close()


@pytest.mark.parametrize("mode", [UNPATCHED, PATCHED])
def test_signal_handler_may_wake_while_the_interrupted_code_does(alone, mode: str) -> None:
    alone(mode, wake_from_interrupting_handler)


def wait_in_threads() -> None:
    latch = Latch()
    made_hub: list[Any] = []

    def wait() -> None:
        latch.wait()
        made_hub.append(get_hub_if_exists())

    ended = [native_thread(wait) for _ in range(5)]
    latch.set()
    for each in ended:
        each.acquire()
    assert made_hub == [None] * 5
    assert latch.is_set()
    latch.wait()


@everywhere
def test_threads_without_a_hub_wait_without_making_one(alone, mode: str) -> None:
    alone(mode, wait_in_threads)


def wait_in_greenlets() -> None:
    latch = Latch()
    order: list[int] = []

    def wait(number: int) -> None:
        latch.wait()
        order.append(number)

    waiting = [gevent.spawn(wait, number) for number in range(3)]
    gevent.sleep(0)
    ended = native_thread(latch.set)
    # Only the latch is alive here: no LoopExit.
    latch.wait()
    gevent.joinall(waiting)
    assert sorted(order) == [0, 1, 2]
    ended.acquire()
    latch.clear()
    assert not latch.is_set()
    gevent.spawn(latch.set)
    latch.wait()


@everywhere
def test_greenlets_wait_for_a_native_thread(alone, mode: str) -> None:
    alone(mode, wait_in_greenlets)


def wait_in_callback() -> None:
    latch = Latch()
    returned: list[bool] = []
    get_hub().loop.run_callback(lambda: returned.append(latch.wait()))
    gevent.sleep(0)
    assert returned == [False]


def wait_for_a_while() -> None:
    latch = Latch()
    ended = threading.Event()
    results = []

    def wait_in_thread() -> None:
        results.append(latch.wait(0.001))
        ended.set()

    thread = threading.Thread(target=wait_in_thread)
    thread.start()
    assert latch.wait(0.001) is False
    thread.join()
    latch.set()
    assert latch.wait(60) is True
    assert results == [False]


@everywhere
def test_waiting_may_be_bounded(alone, mode: str) -> None:
    alone(mode, wait_for_a_while)


@everywhere
def test_hub_callback_does_not_wait(alone, mode: str) -> None:
    alone(mode, wait_in_callback)


def set_from_signal_handler() -> None:
    latch = Latch()
    signal.signal(signal.SIGALRM, lambda *_: latch.set())
    signal.setitimer(signal.ITIMER_REAL, 0.02)
    latch.wait()
    assert latch.is_set()


@pytest.mark.parametrize("mode", [UNPATCHED, PATCHED, LIBUV])
def test_signal_handler_may_set_what_is_waited_for(alone, mode: str) -> None:
    alone(mode, set_from_signal_handler)


def release_many_at_once() -> None:
    for _ in range(50):
        latch = Latch()
        ended = [native_thread(latch.wait) for _ in range(4)]
        latch.set()
        for each in ended:
            each.acquire()


@everywhere
def test_setting_while_others_begin_to_wait_releases_them_all(alone, mode: str) -> None:
    alone(mode, release_many_at_once)


def test_native_locks_are_what_a_latch_uses() -> None:
    """threading's are gevent's in a patched process, and block the hub in another."""
    assert isinstance(Latch()._lock, _thread.RLock)
    assert threading.current_thread() is threading.main_thread()
