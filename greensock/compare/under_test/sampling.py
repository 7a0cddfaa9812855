"""What the server's processes use, read from outside, and who else used the machine.

Reading costs: 10 readings a second made the p99 of a server with 3,000 threads three to four
times longer, so the caller reads once a second, and memory (which holds the process' mmap lock:
15 ms at 5,000 threads) only at the marks of a trial and as often as 2 % of the time allows.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from greensock.processes import seen

KERNEL_STACK = 16 * 1024  # bytes per thread on x86-64 and arm64
MEMORY_SHARE = 0.02  # of the time at most is spent reading memory
MOST_THREADS = 64  # of a server with a thread for each client only the first is asked for children


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


def kernel_memory(pids: list[int]) -> int:
    """Bytes of page tables and kernel stacks of some processes together."""
    size = 0
    for pid in pids:
        for line in seen.read(f"/proc/{pid}/status").splitlines():
            if line.startswith("VmPTE:"):
                size += int(line.split()[1]) * 1024
            elif line.startswith("Threads:"):
                size += int(line.split()[1]) * KERNEL_STACK
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
        pids = seen.tree(self.server, MOST_THREADS)
        busy, steal = seen.busy_seconds()
        sample = Sample(
            t=time.time(),
            cpu=seen.cpu_seconds(pids),
            processes=len(pids),
            threads=sum(map(seen.threads_of, pids)),
            generator_cpu=sum(
                seen.cpu_seconds(seen.tree(pid, MOST_THREADS)) for pid in self.generators
            ),
            own_cpu=time.process_time(),
            busy=busy,
            steal=steal,
            cost_ms=0.0,
        )
        if with_memory or (with_memory is None and time.monotonic() >= self._memory_due):
            before_memory = time.perf_counter()
            size = seen.memory(pids)
            sample.pss, sample.rss = size["Pss"], size["Rss"]
            # What clients cost: the share in Python's own libraries changes whenever any program
            # starts or ends that uses them.
            sample.pss_anonymous = size["Pss_Anon"]
            sample.uss = size["Private_Clean"] + size["Private_Dirty"]
            sample.kernel = kernel_memory(pids)
            if with_memory:
                sample.open_files = sum(len(seen.descriptors_of(pid)) for pid in pids)
            spent = time.perf_counter() - before_memory
            self._memory_due = time.monotonic() + spent / MEMORY_SHARE
        sample.cost_ms = (time.perf_counter() - began) * 1000
        return sample
