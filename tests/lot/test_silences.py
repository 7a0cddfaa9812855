"""Timeouts of parked clients: as many different ones as there are clients, by whatever clock."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

import gevent
import pytest
from hypothesis import given
from hypothesis import strategies as st

from greensock.lot.lot import Client, Lot, ReadyQueue
from greensock.lot.silences import rounded
from greensock.sockets.cooperative import CooperativeSocket

from ..clients import eventually
from ..separate_process import REPOSITORY


@contextlib.contextmanager
def silent_clients(timeouts: Iterable[float]) -> Iterator[list[Client]]:
    with contextlib.ExitStack() as stack:
        clients = []
        for timeout in timeouts:
            ours, theirs = socket.socketpair()
            stack.enter_context(theirs)
            request = stack.enter_context(CooperativeSocket(fileno=ours.detach()))
            request.settimeout(timeout)
            clients.append(Client(request, None))
        yield clients


@given(st.floats(min_value=1e-9, max_value=1e9))
def test_rounding_is_up_and_by_a_64th_at_most(timeout: float) -> None:
    assert timeout <= rounded(timeout) <= timeout * (1 + 1 / 64)


@given(st.sampled_from([0.25, 0.5, 1, 2, 3, 5, 10, 15, 20, 30, 60, 90, 100, 120, 300, 600]))
def test_usual_timeouts_are_kept(timeout: float) -> None:
    assert rounded(timeout) == timeout


def lot_of(silent: list[Client]) -> Lot:
    lot = Lot(told_once=False)
    lot.attach(ReadyQueue(deque(), lambda: None, lambda: None), silent.append, lambda: None)
    return lot


def test_as_many_timeouts_as_clients_are_a_few_lists() -> None:
    lot = lot_of([])
    with silent_clients(200 + number / 2 for number in range(400)) as clients:
        for _ in range(3):
            for client in clients:
                lot.admit(client)
                lot.park(client)
                # As handlers do that draw a timeout for each answer.
                client.request.settimeout(200 + (client.request.timeout * 7) % 200)
            assert len(lot.silences) <= 256
            assert (
                sum(client in each for each in lot.silences.values() for client in clients) == 400
            )
            for client in clients:
                lot.unpark(client)
            assert all(each.is_empty() for each in lot.silences.values())
        lot.detach()
    lot.close()


def test_each_is_ended_in_its_time() -> None:
    silent: list[Client] = []
    lot = lot_of(silent)
    with silent_clients(0.05 + number % 200 / 1000 for number in range(400)) as clients:
        for client in clients:
            lot.admit(client)
            lot.park(client)
        eventually(lambda: gevent.sleep(0.01) or len(silent) == len(clients))
        # The shortest first, but for what is rounded and for how long parking them took.
        longest_so_far = 0.0
        for client in silent:
            assert client.request.timeout >= longest_so_far * 63 / 64 - 0.1
            longest_so_far = max(longest_so_far, client.request.timeout)
        lot.detach()
    lot.close()


# A library that lets the wall clock leap once a file is there.
LEAPING = r"""
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t clock, struct timespec *now) {
    long result = syscall(SYS_clock_gettime, clock, now);
    if (clock == CLOCK_REALTIME && access(getenv("LEAP_AT"), F_OK) == 0)
        now->tv_sec += atol(getenv("LEAP"));
    return result;
}
int gettimeofday(struct timeval *now, void *zone) {
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return 0;
}
"""

# Two clients, who are to be closed for their silence, and neither before its time.
SERVING = """
import os, socket, time
from greensock import GreenletTCPServer
from greensock.examples import Echo
from greensock.testing import running

LIMIT = 1.0

class Timed(Echo):
    timeout = LIMIT

class Idle(GreenletTCPServer):
    idle_timeout = LIMIT

with (
    running(GreenletTCPServer(("127.0.0.1", 0), Timed)) as timed,
    running(Idle(("127.0.0.1", 0), Echo)) as idle,
):
    clients = [socket.create_connection(address, 20) for address in (timed, idle)]
    for client in clients:
        client.sendall(b"x\\n")
        assert client.recv(10) == b"x\\n"
    time.sleep(LIMIT / 2)
    spoke = []
    for client in clients:
        spoke.append(time.monotonic())
        client.sendall(b"x\\n")
        assert client.recv(10) == b"x\\n"
    before = time.time()
    open(os.environ["LEAP_AT"], "w").close()
    assert abs(time.time() - before) > 1000, "it did not leap"
    for client, since in zip(clients, spoke):
        assert client.recv(10) == b""
        # What the kernel knows of silence is looked at in tenths.
        assert time.monotonic() - since > LIMIT * 0.85, "before its time"
        client.close()
print("both closed")
"""


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
@pytest.mark.parametrize("loop", ["libev-cext", "libuv"])
@pytest.mark.parametrize("leap", ["3600", "-3600"])
def test_wall_clock_may_leap(tmp_path: Any, loop: str, leap: str) -> None:
    source, library = tmp_path / "leap.c", tmp_path / "leap.so"
    source.write_text(LEAPING)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
    environment = {
        **os.environ,
        "LD_PRELOAD": str(library),
        "LEAP": leap,
        "LEAP_AT": str(tmp_path / "now"),
        "GEVENT_LOOP": loop,
    }
    ran = subprocess.run(
        [sys.executable, "-c", SERVING],
        env=environment,
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.stdout == "both closed\n", ran.stderr
