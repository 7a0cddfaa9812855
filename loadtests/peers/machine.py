"""Which two cores are used, and what is written down about the machine and the software."""

import importlib.metadata
import os
import platform
import resource
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

PACKAGES = ("greensock", "gevent", "greenlet", "uvloop", "trio")


@dataclass(frozen=True, slots=True)
class Cores:
    """The core that servers run on and the one the load runs on; the same if there is only one."""

    server: int
    load: int

    @classmethod
    def available(cls) -> "Cores":
        """The first two cores this process may use."""
        cores = sorted(os.sched_getaffinity(0))
        return cls(cores[0], cores[1 if len(cores) > 1 else 0])


def settle_on(core: int) -> Callable[[], None]:
    """What a new process does first: move to the core."""
    return lambda: os.sched_setaffinity(0, {core})


def max_clients() -> int:
    """How many sockets one process may hold, less what it needs besides."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1] - 256


def stamp() -> dict[str, Any]:
    """Machine and versions, for the head of the results."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "machine": f"{_processor()}, {os.cpu_count()} cores, {_memory_gib()} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "implementation": sys.implementation.name,
        "versions": versions,
    }


def _processor() -> str:
    with open("/proc/cpuinfo") as lines:
        for line in lines:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


def _memory_gib() -> int:
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30)
