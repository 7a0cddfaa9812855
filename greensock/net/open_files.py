"""The limit of open files, which is the limit of clients."""

from __future__ import annotations

import contextlib
import os
import resource

from greensock.hub.workers.children import close_descriptors


def raise_limit() -> int:
    """Raise this process's soft limit to its hard one; return the limit in force."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        # An unlimited hard limit may exceed what the kernel grants (fs.nr_open).
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def limit() -> int | None:
    """How many files this process may have open, or None where there is no limit."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return None if soft == resource.RLIM_INFINITY else soft


def count() -> int:
    """How many files this process has open; 0 where that cannot be told."""
    try:
        return len(os.listdir("/proc/self/fd")) - 1
    except OSError:
        return 0


def close_now(fd: int) -> None:
    """Close `fd` at once: patched, os.close is put off until the loop turns."""
    close_descriptors([fd])
