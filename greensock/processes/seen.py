"""What can be seen of processes on this machine, from outside: /proc.

A process or thread that has ended meanwhile counts as nothing.
"""

from __future__ import annotations

import contextlib
import os
import resource
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def read(path: str) -> str:
    """A file's text; empty where there is no such file any more."""
    with contextlib.suppress(OSError), open(path) as file:
        return file.read()
    return ""


def _list(path: str) -> list[str]:
    with contextlib.suppress(OSError):
        return os.listdir(path)
    return []


def children_of(pid: int, most_threads: int | None = None) -> list[int]:
    """The live children of a process, without scanning all of /proc (50 ms with 500 children).

    A thread's file names the children which that thread forked, so all threads are asked; above
    `most_threads` of them (each file takes 15 us) only the first one is.
    """
    threads = _list(f"/proc/{pid}/task")
    if most_threads is not None and len(threads) > most_threads:
        threads = [str(pid)]
    files = (read(f"/proc/{pid}/task/{thread}/children") for thread in threads)
    return [int(child) for children in files for child in children.split()]


def tree(root: int, most_threads: int | None = None) -> list[int]:
    """The process, and all its live descendants; as `children_of`."""
    pids = [root]
    for pid in pids:
        pids += children_of(pid, most_threads)
    return pids


def cpu_clock(pid: int) -> float:
    """Seconds of CPU time of a live process, all its threads, those that ended included.

    Its CPU clock (the kernel's encoding, see clock_getcpuclockid) has nanoseconds; the ticks of
    /proc/PID/stat are 10 ms and lose up to 93 % of many short-lived children.
    """
    with contextlib.suppress(OSError):
        return time.clock_gettime((~pid << 3) | 2)
    return 0.0


def cpu_seconds(pids: list[int]) -> float:
    """CPU time used so far by a `tree`, its ended and reaped members included."""
    total = sum(map(cpu_clock, pids))
    # A crowd of forked children has no children of its own.
    for pid in pids if len(pids) <= 64 else pids[:1]:
        # The command's name, in parentheses, may hold spaces; see proc(5), fields 16 and 17.
        fields = read(f"/proc/{pid}/stat").rpartition(")")[2].split()
        total += sum(map(int, fields[13:15])) / _TICKS_PER_SECOND
    return total


def busy_seconds(cores: Iterable[int] | None = None) -> tuple[float, float]:
    """CPU time of all that ran on these cores (None: on any), and what the hypervisor withheld."""
    names = {"cpu"} if cores is None else {f"cpu{core}" for core in cores}
    busy = withheld = 0
    for line in read("/proc/stat").splitlines():
        name, *fields = line.split()
        if name in names:
            user, nice, system, _idle, _iowait, irq, softirq, stolen = map(int, fields[:8])
            busy += user + nice + system + irq + softirq
            withheld += stolen
    return busy / _TICKS_PER_SECOND, withheld / _TICKS_PER_SECOND


def memory(pids: Iterable[int]) -> Counter[str]:
    """Bytes of some processes together, by the kernel's names: Pss, Pss_Anon, Rss and others.

    PSS shares a page out among those that map it: with USS a page shared by forked children
    counts for nobody, with RSS for each of them.
    """
    size: Counter[str] = Counter()
    for pid in pids:
        for line in read(f"/proc/{pid}/smaps_rollup").splitlines():
            name, _, value = line.partition(":")
            if value.endswith(" kB"):
                size[name] += int(value.split()[0]) * 1024
    return size


def anonymous_pss(pids: Iterable[int]) -> int:
    """The processes' proportional set size in bytes, without pages of files.

    File pages (the interpreter, its libraries) are left out because a client adds none, while their
    share changes whenever any other Python process on the machine starts or ends: 5 MB shared by
    three instead of four would show as 42 bytes more for each of 10,000 clients.
    """
    size = memory(pids)
    return size["Pss_Anon"] + size["Pss_Shmem"]


def descriptors_of(pid: int) -> list[int]:
    """The open file descriptors of a process."""
    return [int(name) for name in _list(f"/proc/{pid}/fd")]


def threads_of(pid: int) -> int:
    """How many threads a process has."""
    return len(_list(f"/proc/{pid}/task"))


def context_switches(pids: Iterable[int]) -> int:
    """How often any thread of the processes has left a CPU so far, of itself or pushed out."""
    return sum(
        int(line.split()[1])
        for pid in pids
        for thread in _list(f"/proc/{pid}/task")
        for line in read(f"/proc/{pid}/task/{thread}/status").splitlines()
        if "ctxt_switches" in line
    )


@dataclass(frozen=True, slots=True)
class Holdings:
    """What a server holds: its first process's descriptors and threads, and its children."""

    descriptors: int
    threads: int
    children: int

    def more_than(self, before: Holdings, slack: int) -> list[str]:
        """A phrase for everything that there is more of, by more than `slack`."""
        found = []
        for name in ("descriptors", "threads", "children"):
            more = getattr(self, name) - getattr(before, name)
            if more > slack:
                found.append(f"{more} {name} more than before")
        return found


class ServerView:
    """A server's processes: the one with `pid` and all its descendants.

    Raises:
        PermissionError: it is another user's.
        ProcessLookupError: there is none.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        try:
            os.listdir(f"/proc/{pid}/fd")
        except FileNotFoundError:
            raise ProcessLookupError(f"there is no process {pid}") from None

    def is_alive(self) -> bool:
        state = read(f"/proc/{self.pid}/stat").rpartition(")")[2].split()
        return bool(state) and state[0] != "Z"

    def processes(self) -> list[int]:
        return tree(self.pid)

    def holdings(self) -> Holdings:
        return Holdings(
            descriptors=len(descriptors_of(self.pid)),
            threads=threads_of(self.pid),
            children=len(self.processes()) - 1,
        )

    def cpu_share(self, seconds: float) -> float:
        """Watch for `seconds`: the share of one CPU that it and its children used."""
        before, started = self._clocks(), time.monotonic()
        time.sleep(seconds)
        # Each by itself: one that has ended meanwhile would take all that it ever used away.
        used = sum(spent - before.get(pid, 0.0) for pid, spent in self._clocks().items())
        return used / (time.monotonic() - started)

    def _clocks(self) -> dict[int, float]:
        return {pid: cpu_clock(pid) for pid in self.processes()}

    def memory(self) -> int:
        """Bytes that belong to the server's processes alone; what they share counts once."""
        return memory(self.processes())["Pss_Anon"]

    def open_files_limit(self) -> int:
        return resource.prlimit(self.pid, resource.RLIMIT_NOFILE)[0]
