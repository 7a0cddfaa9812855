"""What the server's processes use, read from outside, and who else used the machine.

Reading costs: 10 readings a second made the p99 of a server with 3,000 threads three to four
times longer, so the caller reads once a second, and memory (which holds the process' mmap lock:
15 ms at 5,000 threads) only at the marks of a trial and as often as 2 % of the time allows.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

KERNEL_STACK = 16 * 1024  # bytes per thread on x86-64 and arm64
_MAPPED = {
    "Pss": "pss",
    "Pss_Anon": "pss_anonymous",
    "Private_Clean": "uss",
    "Private_Dirty": "uss",
    "Rss": "rss",
}
MEMORY_SHARE = 0.02  # of the time at most is spent reading memory


@dataclass
class Sample:
    """One reading. Seconds, bytes and counts; `t` is seconds since the epoch.

    `cpu` and `generator_cpu` are the CPU seconds used so far by all processes of the server and
    of the load generator, ended children included. `busy` and `steal` are the whole machine's.
    The memory is None when it was not read: `pss`, of it `pss_anonymous` (without the pages of
    files, such as libraries), `uss` (pages that nobody else has), `rss`, and `kernel` (page tables
    and kernel stacks).
    """

    t: float
    cpu: float
    processes: int
    threads: int
    generator_cpu: float
    own_cpu: float
    busy: float
    steal: float
    cost_ms: float
    pss: int | None = None
    pss_anonymous: int | None = None
    uss: int | None = None
    rss: int | None = None
    kernel: int | None = None
    open_files: int | None = None


def children_of(pid: int) -> list[int]:
    """The live children of a process, without scanning all of /proc (50 ms with 500 children).

    A thread's file names the children which that thread forked, so all threads are asked; above
    64 of them (a server with a thread per client, each file 15 us) only the first one is.
    """
    tasks = Path(f"/proc/{pid}/task")
    found: list[int] = []
    with contextlib.suppress(OSError):
        threads = list(tasks.iterdir())
        if len(threads) > 64:
            threads = [tasks / str(pid)]
        for thread in threads:
            with contextlib.suppress(OSError):  # it ended meanwhile
                found += map(int, (thread / "children").read_text().split())
    return found


def tree(root: int) -> Iterator[int]:
    """The process and all its live descendants."""
    waiting = [root]
    while waiting:
        pid = waiting.pop()
        yield pid
        waiting += children_of(pid)


def cpu_seconds(pid: int) -> float:
    """User and system time of a live process, all its threads.

    Its CPU clock (the kernel's encoding, see clock_getcpuclockid) has nanoseconds; the ticks of
    /proc/PID/stat are 10 ms and lose up to 93 % of many short-lived children.
    """
    with contextlib.suppress(OSError):
        return time.clock_gettime((~pid << 3) | 2)
    return 0.0


def tree_cpu(root: int, pids: list[int]) -> float:
    """CPU seconds used so far by a process tree, its ended and reaped members included."""
    total = sum(map(cpu_seconds, pids))
    for pid in pids:
        if pid != root and len(pids) > 64:
            break  # a crowd of forked children has no children of its own
        with contextlib.suppress(psutil.Error):
            times = psutil.Process(pid).cpu_times()
            total += times.children_user + times.children_system
    return total


def memory(pids: list[int]) -> dict[str, int]:
    """pss, pss_anonymous, uss, rss and kernel, in bytes, of some processes together.

    PSS shares a page out among those that map it: with USS a page shared by forked children
    counts for nobody, with RSS for each of them. Of it the anonymous part is what clients cost:
    the share in Python's own libraries changes whenever any program starts or ends that uses them.
    """
    size: Counter[str] = Counter(pss=0, pss_anonymous=0, uss=0, rss=0, kernel=0)
    for pid in pids:
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                name, _, value = line.partition(":")
                if name in _MAPPED:
                    size[_MAPPED[name]] += int(value.split()[0]) * 1024
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith("VmPTE:"):
                    size["kernel"] += int(line.split()[1]) * 1024
                elif line.startswith("Threads:"):
                    size["kernel"] += int(line.split()[1]) * KERNEL_STACK
    return size


class Sampler:
    """Reads one server, and beside it the processes that generate its load."""

    def __init__(self, server: int) -> None:
        self.server = server
        self.generators: list[int] = []
        self._memory_due = 0.0

    def read(self, *, with_memory: bool | None = None) -> Sample:
        """One reading. Memory is read when due; True reads it now, False does not."""
        began = time.perf_counter()
        pids = list(tree(self.server))
        threads = 0
        for pid in pids:
            with contextlib.suppress(psutil.Error):
                threads += psutil.Process(pid).num_threads()
        machine = psutil.cpu_times()
        sample = Sample(
            t=time.time(),
            cpu=tree_cpu(self.server, pids),
            processes=len(pids),
            threads=threads,
            generator_cpu=sum(tree_cpu(pid, list(tree(pid))) for pid in self.generators),
            own_cpu=time.process_time(),
            busy=machine.user + machine.nice + machine.system + machine.irq + machine.softirq,
            steal=machine.steal,
            cost_ms=0.0,
        )
        if with_memory or (with_memory is None and time.monotonic() >= self._memory_due):
            before_memory = time.perf_counter()
            size = memory(pids)
            sample.pss, sample.uss, sample.rss = size["pss"], size["uss"], size["rss"]
            sample.kernel, sample.pss_anonymous = size["kernel"], size["pss_anonymous"]
            if with_memory:
                sample.open_files = open_files(pids)
            spent = time.perf_counter() - before_memory
            self._memory_due = time.monotonic() + spent / MEMORY_SHARE
        sample.cost_ms = (time.perf_counter() - began) * 1000
        return sample


def open_files(pids: list[int]) -> int:
    """Open file descriptors of some processes."""
    count = 0
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            count += psutil.Process(pid).num_fds()
    return count
