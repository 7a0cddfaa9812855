"""The limit of open files, which is the limit of clients."""

from __future__ import annotations

import contextlib
import resource


def raise_limit() -> int:
    """Raise this process's soft limit to its hard one; return the limit in force."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        # An unlimited hard limit may exceed what the kernel grants (fs.nr_open).
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
