"""A contender's server in its own process and the load generator beside it, each on its core."""

import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from greensock.net import addresses
from greensock.processes.started import TalkingProcess, announced_in

from .catalogue import Contender
from .machine import Cores, settle_on

CHECKOUT = Path(__file__).resolve().parents[2]
PACKAGE = "loadtests.peers"

START_TIMEOUT = 20.0  # seconds; patching and importing takes 0.5 s on a busy core
ANSWER_TIMEOUT = 90.0  # seconds beyond those that a command itself asks for


class NotMeasured(Exception):
    """A contender cannot be measured here; the text is the reason the tables give."""


class Server:
    """A running contender.

    Attributes:
        pid: Of its first process; children, if any, are its descendants.
        address: Where it listens.
        started_at: `time.perf_counter` just before its process was created.
    """

    def __init__(self, contender: Contender, core: int) -> None:
        self.contender = contender
        if missing := contender.missing():
            raise NotMeasured(f"{missing} is not installed")
        command = [sys.executable, "-m", f"{PACKAGE}.contenders.{contender.module}"]
        self._stderr: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  (`stop` closes it)
        self.started_at = time.perf_counter()
        self._process = subprocess.Popen(
            [*command, contender.variant],
            cwd=CHECKOUT,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            # A group of its own, so that children of a forking server can be ended with it.
            start_new_session=True,
            preexec_fn=settle_on(core),
        )
        self.pid = self._process.pid
        try:
            self.scheme, self.address = self._ready()
        except BaseException:
            self.stop()
            raise

    def _ready(self) -> tuple[str, tuple[str, int]]:
        assert self._process.stdout
        readable, _, _ = select.select([self._process.stdout], [], [], START_TIMEOUT)
        line = self._process.stdout.readline().decode() if readable else ""
        if not (announced := announced_in(line)):
            raise NotMeasured(self.complaint() or "its server did not start")
        address = addresses.parse(announced)
        return address.scheme, (address.host, address.port)

    def complaint(self) -> str:
        """The last line that the server has written to stderr, or an empty string."""
        if self._stderr.closed:
            return ""
        self._stderr.seek(0)
        lines = self._stderr.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""

    def stop(self) -> None:
        """End the server and its children, and wait for it; a second time, do nothing."""
        if self._stderr.closed:
            return
        # The whole group, before its leader is waited for: until then its number is nobody else's.
        # Children of a forking server would outlive it, and nothing of any of them is needed.
        os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()
        self._stderr.close()


class Generator(TalkingProcess):
    """The load generator's process, from this side; all clients that it holds end with it."""

    grace = 0.0

    def __init__(self, server: Server, core: int) -> None:
        host, port = server.address
        self._server = server
        command = [sys.executable, "-m", f"{PACKAGE}.load", server.scheme, host, str(port)]
        super().__init__(
            "load", [*command, str(server.pid)], cpus=[core], working_directory=CHECKOUT
        )

    def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        """Let it do a command of `load.__main__.Generator` and return what that answers.

        Raises:
            NotMeasured: when the server fails under the load, or nothing comes back in time.
        """
        seconds = ANSWER_TIMEOUT + arguments.get("seconds", 0)
        try:
            answer: dict[str, Any] = self.answer_to({"do": command} | arguments, seconds)
        except (TimeoutError, EOFError):
            complaint = self._server.complaint() or self.last_line()
            raise NotMeasured(f"no answer to {command!r}; {complaint}") from None
        if "error" in answer:
            complaint = self._server.complaint()
            raise NotMeasured(answer["error"] + (f" ({complaint})" if complaint else ""))
        return answer


@contextmanager
def serving(contender: Contender, cores: Cores) -> Iterator[tuple[Server, Generator]]:
    """A fresh server and a fresh generator for it; both end with the block."""
    server = Server(contender, cores.server)
    try:
        with Generator(server, cores.load) as generator:
            yield server, generator
    finally:
        server.stop()
