"""Facts about running processes, read from /proc: their tree, CPU time, memory, context switches.

Every function takes pids or returns plain numbers; a process or thread that ended meanwhile counts
as nothing.
"""

import os
from collections.abc import Iterable
from contextlib import suppress

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def _read(path: str) -> str:
    with suppress(OSError), open(path) as file:
        return file.read()
    return ""


def tree(root: int) -> list[int]:
    """The pids of a process and of all its descendants."""
    pids = [root]
    for pid in pids:
        with suppress(OSError):
            for thread in os.listdir(f"/proc/{pid}/task"):
                pids += map(int, _read(f"/proc/{pid}/task/{thread}/children").split())
    return pids


def cpu_seconds(root: int) -> float:
    """User and system time of the tree so far, including children that have been waited for.

    Ended threads and children are only in the root's own times, which are exact to a tick (10 ms);
    the living children have used less than a tick each where there are many, so theirs are taken
    from the scheduler's nanoseconds.
    """
    # The command's name, in parentheses, may hold spaces; the times are fields 14 to 17 of proc(5).
    fields = _read(f"/proc/{root}/stat").rpartition(")")[2].split()
    seconds = sum(map(int, fields[11:15])) / _TICKS_PER_SECOND
    for pid in tree(root)[1:]:
        with suppress(OSError):
            for thread in os.listdir(f"/proc/{pid}/task"):
                spent = _read(f"/proc/{pid}/task/{thread}/schedstat").split()
                seconds += int(spent[0]) / 1e9 if spent else 0
    return seconds


def anonymous_pss(pids: Iterable[int]) -> int:
    """The processes' proportional set size in bytes, without pages of files.

    File pages (the interpreter, its libraries) are left out because a client adds none, while their
    share changes whenever any other Python process on the machine starts or ends: 5 MB shared by
    three instead of four would show as 42 bytes more for each of 10,000 clients.
    """
    kib = 0
    for pid in pids:
        for line in _read(f"/proc/{pid}/smaps_rollup").splitlines():
            if line.startswith(("Pss_Anon:", "Pss_Shmem:")):
                kib += int(line.split()[1])
    return kib * 1024


def context_switches(pids: Iterable[int]) -> int:
    """How often any thread of the processes has left a CPU so far, of itself or pushed out."""
    switches = 0
    for pid in pids:
        with suppress(OSError):
            for thread in os.listdir(f"/proc/{pid}/task"):
                for line in _read(f"/proc/{pid}/task/{thread}/status").splitlines():
                    if "ctxt_switches" in line:
                        switches += int(line.split()[1])
    return switches


def busy_seconds(cores: Iterable[int]) -> float:
    """CPU time of everything on these cores so far, and what the hypervisor withheld."""
    names = {f"cpu{core}" for core in cores}
    ticks = 0
    for line in _read("/proc/stat").splitlines():
        name, *fields = line.split()
        if name in names:
            user, nice, system, _idle, _iowait, irq, softirq, stolen = map(int, fields[:8])
            ticks += user + nice + system + irq + softirq + stolen
    return ticks / _TICKS_PER_SECOND
