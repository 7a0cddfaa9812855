"""The program forks while another thread is amid something, or by multiprocessing."""

import multiprocessing
import os
import signal
import sys
import threading
import warnings
from typing import Any

import pytest
from gevent import monkey

from greensock.testing import running

from .forking_programs import ask_until_all_answered, child, new_server
from .separate_process import LIBUV, PATCHED, STUCK, UNPATCHED
from .server_kinds import (
    NONE,
    under_every_mixin,
)

pytest_plugins = ["tests.alone"]

in_each_process = pytest.mark.parametrize("mode", [UNPATCHED, PATCHED, LIBUV])


def fork_amid_locks(mixin: str) -> None:
    """Another thread is amid whatever takes a lock of the server's."""
    server = new_server(mixin)
    over = threading.Event()

    def disturb() -> None:
        while not over.is_set():
            server.pause()
            server.resume()
            server._greensock.counters.begin_dedicated()
            server._greensock.counters.end_dedicated()

    start: Any = monkey.get_original("_thread", "start_new_thread")
    with running(server) as address:
        sys.setswitchinterval(1e-5)
        start(disturb, ())
        try:
            for _ in range(20):
                with child(lambda: serve_one(server)):
                    pass
        finally:
            over.set()
        ask_until_all_answered(address, {os.getpid()})


def serve_one(server: Any) -> None:
    signal.alarm(round(STUCK))
    server.server_close()
    with new_server(NONE) as other, running(other) as address:
        ask_until_all_answered(address, {os.getpid()})
    server.stats()
    server.pause()
    server.resume()
    server.shutdown()


@pytest.mark.parametrize("mode", [UNPATCHED, LIBUV])
@under_every_mixin
def test_fork_amid_a_lock_leaves_nothing_locked(alone, mode: str, mixin: str) -> None:
    alone(mode, fork_amid_locks, mixin)


def serve_in_multiprocessing(mixin: str) -> None:
    server = new_server(mixin)
    process = multiprocessing.get_context("fork").Process(target=server.serve_forever)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        process.start()
    ask_until_all_answered(server.server_address, {process.pid or 0})
    process.terminate()
    process.join()
    assert process.exitcode == -signal.SIGTERM
    server.server_close()


@pytest.mark.parametrize("mode", [UNPATCHED, PATCHED, LIBUV])
@under_every_mixin
def test_process_of_multiprocessing_may_serve(alone, mode: str, mixin: str) -> None:
    alone(mode, serve_in_multiprocessing, mixin)
