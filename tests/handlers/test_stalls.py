"""A handler that keeps the hub from turning is named while it does so."""

import logging
import os
import threading
import time
from typing import Any

import gevent
import pytest
from gevent import monkey

from greensock.testing import running

from ..clients import ask, connect, eventually
from ..separate_process import HERE, LIBUV, PATCHED, PATCHED_LIBUV
from ..server_kinds import GREENLET, MIXINS, NONE, Echo, make_server

pytest_plugins = ["tests.alone"]

STALL = 0.05


class Blocking(Echo):
    """Blocks its thread until it was complained about, or waits as one should."""

    def handle_one_request(self) -> None:
        line = self.rfile.readline()
        if line == b"block\n":
            deadline = time.monotonic() + 10
            while not records and time.monotonic() < deadline:
                block(0.005)
        if line == b"wait\n":
            gevent.sleep(4 * STALL)
        self.wfile.write(line)


records: list[logging.LogRecord] = []
block: Any = monkey.get_original("time", "sleep")


class Keeping(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        records.append(record)


def stall(mixin: str) -> None:
    records.clear()
    keeping = Keeping()
    logging.getLogger("greensock.stalls").addHandler(keeping)
    threads = len(os.listdir("/proc/self/task"))
    server = make_server(mixin, Blocking, stall_timeout=STALL)
    with running(server) as address, connect(address) as client, connect(address) as other:
        assert ask(other, b"wait\n") == b"wait\n"
        time.sleep(4 * STALL)
        assert records == []
        assert ask(client, b"block\n") == b"block\n"
        (record,) = records
        message = record.getMessage()
        assert record.levelname == "WARNING"
        assert f"Blocking of {client.getsockname()}" in message
        assert f"{__file__}:" in message
        assert " in Blocking.handle_one_request" in message
        # A line that differs, at least: this one goes on.
        assert server.stats().stalls == 1
        logging.getLogger("greensock.stalls").warning("the log still works")
        server.stall_timeout = None
        eventually(lambda: len(os.listdir("/proc/self/task")) <= threads + 1)
    logging.getLogger("greensock.stalls").removeHandler(keeping)


@pytest.mark.parametrize("mixin", [NONE, GREENLET])
@pytest.mark.expect_warnings("all clients have been waiting for", "the log still works")
def test_handler_that_blocks_the_hub_is_named(mixin: str) -> None:
    stall(mixin)


@pytest.mark.parametrize("mode", [PATCHED, LIBUV, PATCHED_LIBUV])
def test_handler_that_blocks_the_hub_is_named_elsewhere(alone, mode: str) -> None:
    alone(mode, stall, GREENLET)


def count_threads(mixin: str) -> None:
    before = len(os.listdir("/proc/self/task"))
    with running(make_server(mixin, Echo)) as address, connect(address) as client:
        assert ask(client, b"x\n") == b"x\n"
        if mixin != "threading":
            # The one that serves, and nobody who watches it.
            assert len(os.listdir("/proc/self/task")) <= before + 1


@pytest.mark.parametrize("mixin", MIXINS)
@pytest.mark.parametrize("mode", [HERE])
def test_nobody_watches_unless_told_to(alone, mode: str, mixin: str) -> None:
    alone(mode, count_threads, mixin)


def test_watched_server_may_be_stopped_from_anywhere() -> None:
    for _ in range(5):
        server = make_server(GREENLET, Echo, stall_timeout=60)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        server.shutdown()
        thread.join()
        server.server_close()
