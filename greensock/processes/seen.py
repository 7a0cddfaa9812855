"""What can be seen of a server on this machine, from outside: /proc."""

from __future__ import annotations

import contextlib
import os
import resource
import time
from dataclasses import dataclass

# In /proc/net/tcp, the timer of a connection that sends keep-alive probes, or closes after them.
_KEEPALIVE_TIMER = "02"


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
        state = _read(f"/proc/{self.pid}/stat").rpartition(")")[2].split()
        return bool(state) and state[0] != "Z"

    def processes(self) -> list[int]:
        pids = [self.pid]
        for pid in pids:
            for thread in _list(f"/proc/{pid}/task"):
                pids += map(int, _read(f"/proc/{pid}/task/{thread}/children").split())
        return pids

    def holdings(self) -> Holdings:
        return Holdings(
            descriptors=len(_list(f"/proc/{self.pid}/fd")),
            threads=len(_list(f"/proc/{self.pid}/task")),
            children=len(self.processes()) - 1,
        )

    def cpu_share(self, seconds: float) -> float:
        """Watch for `seconds`: the share of one CPU that all threads and children used."""
        before, started = self._nanoseconds(), time.monotonic()
        time.sleep(seconds)
        after = self._nanoseconds()
        used = sum(spent - before.get(thread, 0) for thread, spent in after.items())
        return used / 1e9 / (time.monotonic() - started)

    def _nanoseconds(self) -> dict[tuple[int, str], int]:
        """CPU time of every living thread, from the scheduler: exact where ticks are 10 ms."""
        found = {}
        for pid in self.processes():
            for thread in _list(f"/proc/{pid}/task"):
                spent = _read(f"/proc/{pid}/task/{thread}/schedstat").split()
                if spent:
                    found[pid, thread] = int(spent[0])
        return found

    def memory(self) -> int:
        """Bytes that belong to the server's processes alone; what they share counts once."""
        kib = 0
        for pid in self.processes():
            for line in _read(f"/proc/{pid}/smaps_rollup").splitlines():
                if line.startswith("Pss_Anon:"):
                    kib += int(line.split()[1])
        return kib * 1024

    def open_files_limit(self) -> int:
        return resource.prlimit(self.pid, resource.RLIMIT_NOFILE)[0]


def probed_by_keepalive(
    server_port: int, client_ports: set[int], view: ServerView | None
) -> int | None:
    """Of a server's connections to these ports, those with a keep-alive timer.

    Args:
        view: a server that may see another network than this process; None: it sees the same.

    Returns None if the kernel lists none of the connections.
    """
    pid = "self" if view is None else view.pid
    seen = armed = 0
    for name in ("tcp", "tcp6"):
        for line in _read(f"/proc/{pid}/net/{name}").splitlines()[1:]:
            fields = line.split()
            here, there = (int(fields[n].rpartition(":")[2], 16) for n in (1, 2))
            if here == server_port and there in client_ports:
                seen += 1
                armed += fields[5].partition(":")[0] == _KEEPALIVE_TIMER
    return armed if seen else None


def _read(path: str) -> str:
    with contextlib.suppress(OSError), open(path) as file:
        return file.read()
    return ""


def _list(path: str) -> list[str]:
    with contextlib.suppress(OSError):
        return os.listdir(path)
    return []
