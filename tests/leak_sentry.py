"""What a test has left behind: descriptors, threads, children, greenlets, clients, socket files.

A snapshot before the test, another one after it, and the difference is the leak. Looking costs well
under a millisecond; only what looks like a leak is given time, since much of it ends by itself a
moment later: a thread is in /proc for a little longer than `join` waits for it, and a client's side
of a connection is closed before the server has noticed.
"""

import contextlib
import gc
import os
import re
import socket
import stat
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import gevent
import greenlet
from gevent import monkey
from gevent.hub import Hub, get_hub

from greensock.lot.lot import PARKED, Client

#: Seconds that something may take to end by itself before it counts as left behind. Arbitrary.
GRACE = 5.0

_unix_paths: list[str] = []


def _note_unix_path(event: str, arguments: tuple) -> None:
    if event == "socket.bind" and arguments[0].family == socket.AF_UNIX:
        path = os.fsdecode(arguments[1])
        # An address in the abstract namespace, or an unnamed one, is no file.
        if path and not path.startswith("\0"):
            _unix_paths.append(os.path.abspath(path))


@dataclass
class Snapshot:
    """What the process holds at one moment."""

    descriptors: set[tuple[int, str]]
    threads: set[int]
    children: set[int]

    @classmethod
    def take(cls) -> "Snapshot":
        return cls(_descriptors(), _threads(), _children())

    def since(self, before: "Snapshot") -> list[str]:
        """A line for each thing that was not there before."""
        return [
            *(f"descriptor {fd}: {what}" for fd, what in self.descriptors - before.descriptors),
            *map(_describe_thread, self.threads - before.threads),
            *(f"child process {pid}" for pid in self.children - before.children),
        ]


@dataclass
class LeakSentry:
    """Watches one test at a time; `begin` before it, `leaks` after it."""

    before: Snapshot = field(init=False)

    @staticmethod
    def prepare() -> None:
        """Once in a process: what gevent makes on first use would be the first test's leak."""
        get_hub()
        gevent.sleep(0)
        sys.addaudithook(_note_unix_path)

    def begin(self) -> None:
        _unix_paths.clear()
        # All that exists now goes where gc.get_objects() does not look, so that afterwards it
        # lists what the test has made and no more: 0.2 ms, where all of a process takes 30 ms.
        gc.freeze()
        self.before = Snapshot.take()

    def leaks(self, grace: float = GRACE) -> list[str]:
        """A line for each thing left behind, after it had the time to end by itself."""
        try:
            found = self._look()
            deadline = time.monotonic() + grace
            while found and time.monotonic() < deadline:
                gc.collect()
                _end_idle_pool_threads()
                gevent.sleep(0.01)
                found = self._look()
            if monkey.is_module_patched("socket"):
                found.append("a process patched by gevent, as importing locust does")
            return found
        finally:
            gc.unfreeze()

    def _look(self) -> list[str]:
        return [
            *Snapshot.take().since(self.before),
            *(f"blocked greenlet {each!r}" for each in _blocked_greenlets()),
            *(f"parked client {each.address}" for each in _parked_clients()),
            *(f"socket file {path}" for path in _unix_paths if _is_socket(path)),
        ]


def left_by_scenario(before: Snapshot, grace: float = GRACE) -> list[str]:
    """What a scenario leaves behind in a process of its own, after it had the time to end.

    Its hub may stay, and with it what that has open: pipes and what has no name.
    """
    deadline = time.monotonic() + grace
    while True:
        found = [
            line
            for line in Snapshot.take().since(before)
            if not re.search(": (pipe|anon_inode):", line)
        ]
        if not found or time.monotonic() >= deadline:
            return found
        _end_idle_pool_threads()
        gevent.sleep(0.01)


def _descriptors() -> set[tuple[int, str]]:
    """Every open descriptor with what it refers to, so that a number used again is noticed."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # the one that lists the folder
            found.add((int(name), os.readlink(f"/proc/self/fd/{name}")))
    return found


def _threads() -> set[int]:
    """Native threads by the kernel's ids: threading knows only those that it has started."""
    return set(map(int, os.listdir("/proc/self/task")))


def _children() -> set[int]:
    """Child processes, zombies included: a child belongs to the thread that forked it."""
    found: set[int] = set()
    for thread in os.listdir("/proc/self/task"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            children = Path(f"/proc/self/task/{thread}/children").read_text()
            found.update(map(int, children.split()))
    return found


def _blocked_greenlets() -> list[greenlet.greenlet]:
    return [
        each
        for each in gc.get_objects()
        if issubclass(type(each), greenlet.greenlet)  # isinstance would ask weak proxies
        and not isinstance(each, Hub)
        and each.parent is not None  # else it is the main greenlet of a native thread
        and each  # has begun and not ended
        and each is not greenlet.getcurrent()
    ]


def _parked_clients() -> list[Client]:
    """Those of servers that were shut down and never closed too: their sockets are open."""
    return [
        each
        for each in gc.get_objects()
        if type(each) is Client and each.state is PARKED and not each.request._closed
    ]


def _describe_thread(native_id: int) -> str:
    names = [each.name for each in threading.enumerate() if each.native_id == native_id]
    return f"native thread {native_id} ({names[0] if names else 'unknown to threading'})"


def _end_idle_pool_threads() -> None:
    """gevent's pool of native threads, which resolves names, keeps its idle threads for seconds."""
    pool = get_hub()._threadpool
    if pool is not None and not pool.task_queue.unfinished_tasks:
        pool.kill()


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return False
