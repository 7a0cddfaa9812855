"""The server under test, as a child process."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

from greensock.compare.planning.contenders import Contender
from greensock.compare.planning.plan import Plan
from greensock.compare.under_test.greenlet_count import COUNTS_FILE, SIGNAL
from greensock.compare.under_test.serve_peer import NOTE
from greensock.processes.free_ports import free_port
from greensock.processes.started import ChildProcess, describe_status, wait_until

REFUSED = 2  # exit status of a usage error
COUNT_TIMEOUT = 0.5  # seconds; a count takes some milliseconds
START_TIMEOUT = 20.0  # seconds: an import of a large application, on a busy machine


class ServerFailed(Exception):
    """The server did not start, or ended before it was told to."""


class ServerRefused(ServerFailed):
    """The server ended with status 2: it was asked for something that it cannot serve."""


class ServerProcess(ChildProcess):
    """Serves the plan's target as `contender` does; `address` is known once it is ready."""

    def __init__(self, contender: Contender, plan: Plan, folder: Path) -> None:
        if plan.transport == "unix":
            bind = f"unix:{folder / 'server.sock'}"
        else:
            bind = f"{plan.transport}://127.0.0.1:0"
        settings = plan.server_settings(contender)
        self._program_port = free_port() if plan.is_program else None
        if self._program_port is None:
            command = contender.command(plan.target, bind, settings)
        else:
            command = contender.program_command(plan.target, self._program_port, settings)
        super().__init__(
            "server",
            command,
            folder,
            cpus=plan.server_cpus,
            environment={
                **os.environ,
                # A handler's print must reach the log even if the server has to be killed.
                "PYTHONUNBUFFERED": "1",
                COUNTS_FILE: str(folder / "greenlets"),
            },
        )
        self.address = ""
        self._greenlet_counts = folder / "greenlets"

    def wait_ready(self) -> str:
        """Wait for the line that says where it listens, and return that address."""
        wait_until(lambda: self._listens_on() != "" or self.poll() is not None, START_TIMEOUT)
        self.address = self._listens_on()
        if self.address:
            return self.address
        if self.poll() is None:
            raise ServerFailed(f"the server was not ready within {START_TIMEOUT:.0f} s")
        if self.poll() == REFUSED:
            raise ServerRefused(" ".join(self.error_tail(1)).removeprefix("greensock: "))
        raise ServerFailed(f"the server did not start: {self.last_words()}")

    def notes(self) -> list[str]:
        """What it has to say of how it serves."""
        return [line.removeprefix(NOTE) for line in self.error_tail(1000) if line.startswith(NOTE)]

    def count_greenlets(self) -> int | None:
        """Ask it how many greenlets it has; None if it does not answer (a handler in C code)."""
        if SIGNAL is None or self._program_port is not None or self.poll() is not None:
            return None
        before = self._counts()
        os.kill(self.pid, SIGNAL)
        wait_until(lambda: len(self._counts()) > len(before), COUNT_TIMEOUT, interval=0.005)
        after = self._counts()
        return int(after[-1]) if len(after) > len(before) else None

    def _counts(self) -> list[str]:
        try:
            return self._greenlet_counts.read_text().splitlines()
        except FileNotFoundError:
            return []

    def _listens_on(self) -> str:
        if self._program_port is not None:
            # A program says what it likes; that it accepts clients is what counts.
            return self._accepting(self._program_port)
        return self.announced()

    def _accepting(self, port: int) -> str:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            return ""
        return f"tcp://127.0.0.1:{port}"

    def ended_cleanly(self, status: int) -> bool:
        """Whether it ended as told to: a program may leave SIGTERM to the system."""
        return not status or (self._program_port is not None and status == -signal.SIGTERM)

    def check_alive(self, when: str) -> None:
        """Raise ServerFailed if it has ended by itself."""
        if self.poll() is not None:
            raise ServerFailed(f"the server died {when}: {self.last_words()}")

    def last_words(self) -> str:
        """How it ended, and the last thing it said."""
        said, status = self.last_line(), describe_status(self.process.wait())
        return f"{said} ({status})" if said else status
