"""The server under test, as a child process."""

from __future__ import annotations

import os
from pathlib import Path

from greensock.compare.contenders import Contender
from greensock.compare.plan import Plan
from greensock.compare.processes import ChildProcess, describe_status, wait_until

READY = "listening on "
REFUSED = 2  # exit status of a usage error
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
        super().__init__(
            "server",
            contender.command(plan.target, bind, plan.server_settings(contender)),
            folder,
            cpus=plan.server_cpus,
            # A handler's print must reach the log even if the server has to be killed.
            environment={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        self.address = ""

    def wait_ready(self) -> str:
        """Wait for the line that says where it listens, and return that address."""
        wait_until(lambda: self._ready_line() != "" or self.poll() is not None, START_TIMEOUT)
        line = self._ready_line()
        if line:
            self.address = line.removeprefix(READY)
            return self.address
        if self.poll() is None:
            raise ServerFailed(f"the server was not ready within {START_TIMEOUT:.0f} s")
        if self.poll() == REFUSED:
            raise ServerRefused(" ".join(self.error_tail(1)).removeprefix("greensock: "))
        raise ServerFailed(f"the server did not start: {self.last_words()}")

    def _ready_line(self) -> str:
        for line in self.stdout.read_text(errors="replace").splitlines(keepends=True):
            if line.startswith(READY) and line.endswith("\n"):
                return line.strip()
        return ""

    def check_alive(self, when: str) -> None:
        """Raise ServerFailed if it has ended by itself."""
        if self.poll() is not None:
            raise ServerFailed(f"the server died {when}: {self.last_words()}")

    def last_words(self) -> str:
        """How it ended, and the last thing it said."""
        said, status = self.last_line(), describe_status(self.process.wait())
        return f"{said} ({status})" if said else status

    def last_line(self) -> str:
        """The last thing it said, rulers of dashes apart; after a traceback, the exception."""
        said = [line.strip() for line in self.error_tail() if line.strip("-= \t")]
        return said[-1] if said else ""
