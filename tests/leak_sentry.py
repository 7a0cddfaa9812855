"""What a test has left behind: descriptors, threads, children, greenlets, socket files, warnings.

A snapshot before the test, another one after it, and the difference is the leak. Looking costs well
under a millisecond; only what looks like a leak is given time, since much of it ends by itself a
moment later: a thread is in /proc for a little longer than `join` waits for it, and a client's side
of a connection is closed before the server has noticed.
"""

import contextlib
import gc
import os
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
        now = Snapshot.take()
        return [
            *(f"descriptor {fd}: {what}" for fd, what in now.descriptors - self.before.descriptors),
            *map(_describe_thread, now.threads - self.before.threads),
            *(f"child process {pid}" for pid in now.children - self.before.children),
            *(f"blocked greenlet {each!r}" for each in _blocked_greenlets()),
            *(f"socket file {path}" for path in _unix_paths if _is_socket(path)),
        ]


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
