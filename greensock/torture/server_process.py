"""A server that is started and stopped here: `greensock torture --command`."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import IO

from greensock.torture.exchange import Exchange, Lost, ask
from greensock.torture.target import Target

_START_TIMEOUT = 20.0

# Sets the limit in the new process itself and becomes the command there: what runs between fork
# and exec in a process with threads must not be Python.
_WITH_FEW_FILES = (
    "import os, resource, sys; files = int(sys.argv[1]); "
    "resource.setrlimit(resource.RLIMIT_NOFILE, (files, files)); os.execvp(sys.argv[2], "
    "sys.argv[2:])"
)


class NotStarted(Exception):
    """The command did not become a server; the text says why."""


class ServerProcess:
    """A server in a process of its own.

    Args:
        command: its command line; no shell is involved.
        address: where it will listen; with port 0, what follows `listening on ` in its output.
        open_files: the limit it starts with; None leaves it as it is.

    Raises:
        NotStarted: it ended, or nobody could connect in time.
    """

    def __init__(self, command: str, address: str, open_files: int | None = None) -> None:
        arguments = shlex.split(command)
        if open_files is not None:
            arguments = [sys.executable, "-c", _WITH_FEW_FILES, str(open_files), *arguments]
        self._stdout: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  (`stop` closes them)
        self._stderr: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        try:
            self._process = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=self._stdout,
                stderr=self._stderr,
                # Not stopped by the Ctrl-C that stops the tool, which then stops it in order.
                start_new_session=True,
            )
        except OSError as error:
            self._close_files()
            raise NotStarted(f"{arguments[0]}: {error.strerror}") from error
        self.pid = self._process.pid
        try:
            self.target = self._find(address)
        except BaseException:
            self.stop()
            raise

    def _find(self, address: str) -> Target:
        deadline = time.monotonic() + _START_TIMEOUT
        while time.monotonic() < deadline:
            if self._has_ended():
                raise NotStarted(self.last_line() or "it ended at once")
            target = self._announced(address)
            if target is not None and _listens(target):
                return target
            time.sleep(0.02)
        raise NotStarted(f"nobody listened on {address} within {_START_TIMEOUT:g} s")

    def _announced(self, address: str) -> Target | None:
        if not address.endswith(":0"):
            return Target(address)
        found = re.search(rb"listening on (\S+)\n", _content(self._stdout))
        if found is None:
            return None
        announced = found[1].decode()
        if address.startswith("tls://"):
            # A server may not say so.
            announced = announced.replace("tcp://", "tls://")
        return Target(announced)

    def errors(self) -> str:
        """All that it has written to standard error."""
        return _content(self._stderr).decode(errors="replace")

    def last_line(self) -> str:
        """The last line of its standard error, or an empty string."""
        lines = self.errors().strip().splitlines()
        return lines[-1] if lines else ""

    def end(self, timeout: float) -> int | None:
        """Send SIGTERM, and wait; the exit status, or None if it did not end in time."""
        os.kill(self.pid, signal.SIGTERM)
        deadline = time.monotonic() + timeout
        while not self._has_ended():
            if time.monotonic() > deadline:
                return None
            time.sleep(0.005)
        self._end_group()
        return self._process.wait()

    def stop(self) -> None:
        """End it and all its children, at once, and wait for it."""
        if self._process.returncode is None:
            self._end_group()
            self._process.wait()
        self._close_files()

    def _has_ended(self) -> bool:
        # Not `poll`, which would reap it: its number must stay its group's until that has ended.
        options = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self.pid, options) is not None

    def _end_group(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    def _close_files(self) -> None:
        self._stdout.close()
        self._stderr.close()


@contextlib.contextmanager
def started(command: str, address: str, open_files: int | None = None) -> Iterator[ServerProcess]:
    """A server for as long as the block runs."""
    server = ServerProcess(command, address, open_files)
    try:
        yield server
    finally:
        server.stop()


def wait_until_answering(target: Target, exchange: Exchange, patience: float) -> str | None:
    """Ask until there is an answer; None, or what was wrong with the last try of all."""
    deadline = time.monotonic() + patience
    while True:
        left = target.patience_of_one(max(deadline - time.monotonic(), 0.05))
        try:
            with contextlib.closing(target.connect(left)) as sock:
                ask(sock, exchange, 0, left)
        except Lost as error:
            complaint = str(error)
        except OSError as error:
            complaint = f"cannot connect: {error}"
        else:
            return None
        if time.monotonic() >= deadline:
            return complaint
        time.sleep(0.01)


def _listens(target: Target) -> bool:
    if not target.is_stream:
        return True
    try:
        target.connect_raw(1.0).close()
    except OSError:
        return False
    return True


def _content(file: IO[bytes]) -> bytes:
    # The server writes through a descriptor with the same offset: reading must not move it.
    return os.pread(file.fileno(), 1 << 24, 0)
