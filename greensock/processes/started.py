"""Child processes that cannot outlive this one."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from greensock.printable import printable
from greensock.processes.interrupts import deferred_interrupts

LAUNCHER = Path(__file__).with_name("launch.py")
GRACE = 5.0  # seconds: as long as a draining server may need

#: With or without what a log puts before it.
_ANNOUNCED = re.compile(r"listening on (unix:.+|(?:\w+://)?\S+:\d+)\s*$", re.MULTILINE)

_started: set[ChildProcess] = set()  # and not stopped


class ChildProcess:
    """A command in a session of its own, ended together with all it started.

    A session of its own keeps the terminal's Ctrl-C from it: the children are ended in order, and a
    server that got the signal first would look as if it had died under load.

    Leaving the `with` block stops it: SIGTERM to the command, up to `grace` seconds, then SIGKILL
    to the whole process group. An interrupt may come before the block is entered, or amid its end:
    `stop_children` is for those.

    Args:
        folder: where what it writes goes, to the files `stdout` and `stderr`; without one they are
            gone once it is stopped.
        cpus: those it may run on.
        open_files: how many files it may have open.
    """

    #: Seconds between SIGTERM and SIGKILL; 0: there is only SIGKILL.
    grace = GRACE
    _talks = False

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        folder: Path | None = None,
        *,
        cpus: Sequence[int] | None = None,
        open_files: int | None = None,
        environment: Mapping[str, str] | None = None,
        working_directory: Path | None = None,
    ) -> None:
        self.name = name
        self._own_folder = None
        if folder is None:
            self._own_folder = tempfile.TemporaryDirectory(prefix=f"{name}-")
            folder = Path(self._own_folder.name)
        self.stdout = folder / f"{name}.out"
        self.stderr = folder / f"{name}.err"
        pinned = ",".join(map(str, cpus)) if cpus else "-"
        files = "-" if open_files is None else str(open_files)
        launcher = [sys.executable, "-I", "-S", str(LAUNCHER), str(os.getpid()), pinned, files]
        with (
            self.stdout.open("wb") as out,
            self.stderr.open("wb") as err,
            # An exception in Popen's constructor would leave a child whom nobody knows.
            deferred_interrupts(),
        ):
            self.process: subprocess.Popen[str] = subprocess.Popen(
                [*launcher, *command],
                stdin=subprocess.PIPE if self._talks else subprocess.DEVNULL,
                stdout=subprocess.PIPE if self._talks else out,
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

    def poll(self) -> int | None:
        """Its exit status, or None while it runs.

        It is not reaped: until `stop` its number stays that of its process group.
        """
        if self.process.returncode is not None:
            return self.process.returncode
        ended = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if ended is None:
            return None
        return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status

    def wait(self, seconds: float) -> None:
        """Sleep for so long, or until it ends."""
        wait_until(lambda: self.poll() is not None, seconds)

    def kill(self) -> None:
        """SIGKILL to its whole process group; for as long as it is not stopped."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def end(self, seconds: float) -> int | None:
        """Send SIGTERM, and wait; its exit status, or None if it does not end in time.

        With it ends what is left of its process group. What it wrote can be read until `stop`.
        """
        if self.poll() is None:
            self.process.terminate()
            wait_until(lambda: self.poll() is not None, seconds, interval=0.005)
        status = self.poll()
        if status is not None:
            self.kill()
        return status

    def stop(self, grace: float | None = None) -> int:
        """End the command and whatever is left of its process group; return its exit status."""
        grace = self.grace if grace is None else grace
        if self in _started:
            if grace:
                self.end(grace)
            # Also after a clean end: a server that was killed leaves its children behind.
            self.kill()
        status = self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        _started.discard(self)
        if self._own_folder is not None:
            self._own_folder.cleanup()
        return status

    def announced(self) -> str:
        """The address of its line `listening on ADDRESS`; empty before there is one."""
        whole_lines = self.stdout.read_text(errors="replace").rpartition("\n")[0]
        return announced_in(whole_lines)

    def errors(self) -> str:
        """All that it has written to standard error."""
        return self.stderr.read_text(errors="replace")

    def error_tail(self, lines: int = 12) -> list[str]:
        """The last lines that it wrote to standard error."""
        with self.stderr.open("rb") as file:
            file.seek(max(0, self.stderr.stat().st_size - 8192))
            said = file.read().decode(errors="replace").splitlines()[-lines:]
        return [printable(line, keep="\t") for line in said]

    def last_line(self) -> str:
        """The last thing it said, rulers of dashes apart; after a traceback, the exception."""
        said = [line.strip() for line in self.error_tail() if line.strip("-= \t")]
        return said[-1] if said else ""


class TalkingProcess(ChildProcess):
    """One that is spoken to: its standard input and output are pipes."""

    _talks = True

    def read_line(self, seconds: float) -> str:
        """The next line that it says, without its end.

        Raises:
            TimeoutError: it said nothing for so long.
            EOFError: it has ended.
        """
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], seconds)
        if not ready:
            raise TimeoutError
        line = self.process.stdout.readline()
        if not line:
            raise EOFError(self.last_line())
        return line.rstrip("\n")

    def answer_to(self, command: Mapping[str, Any], seconds: float) -> Any:
        """Tell it a command, as a line of JSON; return what it answers in the same way.

        Raises:
            TimeoutError: it did not answer within `seconds`.
            EOFError: it has ended.
        """
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(command) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError as error:
            raise EOFError(self.last_line()) from error
        return json.loads(self.read_line(seconds))


def announced_in(text: str) -> str:
    """The address of a line `listening on ADDRESS`; empty without one."""
    found = _ANNOUNCED.search(text)
    return found[1] if found else ""


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
