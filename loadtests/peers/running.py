"""A contender's server in its own process and the load generator beside it, each on its core."""

import json
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
        line = _read_line(self._process, START_TIMEOUT).decode()
        if not line.startswith("listening on "):
            raise NotMeasured(self.complaint() or "its server did not start")
        scheme, _, address = line.removeprefix("listening on ").strip().partition("://")
        host, _, port = address.rpartition(":")
        return scheme, (host, int(port))

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


class Generator:
    """The load generator's process, from this side."""

    def __init__(self, server: Server, core: int) -> None:
        host, port = server.address
        self._server = server
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                f"{PACKAGE}.load",
                server.scheme,
                host,
                str(port),
                str(server.pid),
            ],
            cwd=CHECKOUT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            preexec_fn=settle_on(core),
        )

    def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        """Let it do a command of `load.__main__.Generator` and return what that answers.

        Raises:
            NotMeasured: when the server fails under the load, or nothing comes back in time.
        """
        assert self._process.stdin
        self._process.stdin.write(json.dumps({"do": command} | arguments).encode() + b"\n")
        self._process.stdin.flush()
        line = _read_line(self._process, ANSWER_TIMEOUT + arguments.get("seconds", 0))
        if not line:
            raise NotMeasured(f"no answer to {command!r}; {self._server.complaint()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            complaint = self._server.complaint()
            raise NotMeasured(answer["error"] + (f" ({complaint})" if complaint else ""))
        return answer

    def stop(self) -> None:
        """End it, and with it every client it holds."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream:
                stream.close()


def _read_line(process: "subprocess.Popen[bytes]", timeout: float) -> bytes:
    """One line of the process's output; empty if it ends or stays silent for so many seconds."""
    assert process.stdout
    readable, _, _ = select.select([process.stdout], [], [], timeout)
    return process.stdout.readline() if readable else b""


@contextmanager
def serving(contender: Contender, cores: Cores) -> Iterator[tuple[Server, Generator]]:
    """A fresh server and a fresh generator for it; both end with the block."""
    server = Server(contender, cores.server)
    try:
        generator = Generator(server, cores.load)
        try:
            yield server, generator
        finally:
            generator.stop()
    finally:
        server.stop()
