"""How many greenlets a server under test has: it counts them itself when it gets a signal.

From outside a greenlet cannot be seen: it is neither a thread nor a process.

    python -P greenlet_count.py serve TARGET ...    `greensock serve TARGET ...`, able to count
"""

from __future__ import annotations

import gc
import os
import runpy
import signal
import sys

from greenlet import greenlet

# The file to which a server adds a line with each count; without the variable it counts nothing.
COUNTS_FILE = "GREENSOCK_GREENLET_COUNTS"

# A real-time signal, since a program under test may have a use of its own for SIGUSR1 and SIGUSR2.
# None where there are no such signals: then no greenlets are counted.
SIGNAL: int | None = getattr(signal, "SIGRTMAX", None)


def count() -> int:
    """The unfinished greenlets of this process, those of the main program included.

    Walking all objects takes some milliseconds, in which the server does nothing else, so this is
    asked for outside of what is measured.
    """
    # type() and not isinstance(), which asks a proxy for what it stands for.
    return sum(issubclass(type(one), greenlet) and bool(one) for one in gc.get_objects())


def answer_signals() -> None:
    """From now on add a count to the file at each signal, if a file was named."""
    path = os.environ.get(COUNTS_FILE)
    if path is None or SIGNAL is None:
        return

    def write_count(_number: int, _frame: object) -> None:
        # One write, so that nobody reads half a line.
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(file, b"%d\n" % count())
        os.close(file)

    signal.signal(SIGNAL, write_count)


if __name__ == "__main__":
    answer_signals()
    runpy.run_module("greensock", run_name="__main__", alter_sys=True)
    sys.exit()
