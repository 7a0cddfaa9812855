"""Child processes that cannot outlive the comparison."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from greensock.printable import printable
from greensock.processes.interrupts import deferred_interrupts

LAUNCHER = Path(__file__).with_name("launch.py")
GRACE = 5.0  # seconds between SIGTERM and SIGKILL: as long as a draining server may need

_started: set[ChildProcess] = set()  # and not stopped


class ChildProcess:
    """A command in a session of its own, ended together with all it started.

    A session of its own keeps the terminal's Ctrl-C from it: the comparison ends its children in
    order, and a server that got the signal first would look as if it had died under load.

    Leaving the `with` block stops it: SIGTERM to the command, up to `GRACE` seconds, then SIGKILL
    to the whole process group. An interrupt may come before the block is entered, or amid its end:
    `stop_children` is for those. What the command writes goes to `stdout` and `stderr`, files in
    `folder`.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        folder: Path,
        *,
        cpus: Sequence[int] | None = None,
        environment: Mapping[str, str] | None = None,
        working_directory: Path | None = None,
        talks: bool = False,
    ) -> None:
        self.name = name
        self.stdout = folder / f"{name}.out"
        self.stderr = folder / f"{name}.err"
        pinned = ",".join(map(str, cpus)) if cpus else "-"
        with (
            self.stdout.open("wb") as out,
            self.stderr.open("wb") as err,
            # An exception in Popen's constructor would leave a child whom nobody knows.
            deferred_interrupts(),
        ):
            self.process: subprocess.Popen[str] = subprocess.Popen(
                [sys.executable, "-I", "-S", str(LAUNCHER), str(os.getpid()), pinned, *command],
                stdin=subprocess.PIPE if talks else subprocess.DEVNULL,
                stdout=subprocess.PIPE if talks else out,
                stderr=err,
                env=None if environment is None else dict(environment),
                cwd=working_directory,
                start_new_session=True,
                text=True,
            )
            self.pid = self.process.pid
            _started.add(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def pipes(self) -> tuple[IO[str], IO[str]]:
        """Where to write to the child and read from it (only with `talks=True`)."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        return self.process.stdin, self.process.stdout

    def poll(self) -> int | None:
        return self.process.poll()

    def wait(self, seconds: float) -> None:
        """Sleep for so long, or until it ends."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(max(0.0, seconds))

    def stop(self, grace: float = GRACE) -> int:
        """End the command and whatever is left of its process group; return its exit status."""
        if self.process.poll() is None:
            self.process.terminate()
            self.wait(grace)
        # Also after a clean end: a server that was killed leaves its children behind.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        status = self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        _started.discard(self)
        return status

    def error_tail(self, lines: int = 12) -> list[str]:
        """The last lines that the command wrote to stderr."""
        with self.stderr.open("rb") as file:
            file.seek(max(0, self.stderr.stat().st_size - 8192))
            said = file.read().decode(errors="replace").splitlines()[-lines:]
        return [printable(line, keep="\t") for line in said]


def stop_children() -> None:
    """Stop every child that was started and not stopped, because an interrupt came between."""
    for child in list(_started):
        child.stop()


def describe_status(status: int) -> str:
    """An exit status in words: `status 1`, `killed by SIGKILL`."""
    if status >= 0:
        return f"status {status}"
    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"killed by signal {-status}"


def wait_until(condition: Callable[[], bool], seconds: float, interval: float = 0.02) -> bool:
    """Poll `condition` for at most `seconds`; whether it came true."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(interval)
    return True
