"""Starts a program, asks it, and holds idle clients of it."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from greensock.processes.free_ports import free_port
from greensock.processes.seen import anonymous_pss, tree
from greensock.processes.started import ChildProcess, wait_until
from loadtests.programs.catalogue import SERVED, Program

REPOSITORY = Path(__file__).parents[2]
_HOST = "127.0.0.1"

#: Seconds after which something counts as stuck.
STUCK = 30.0

STDLIB: tuple[str, ...] = ()
GREENSOCK = ("-m", "greensock", "run")


class Failed(Exception):
    """The program did not do what it should; the text has what it said."""


class Run(ChildProcess):
    """A program while it runs, started by `how`: STDLIB, or GREENSOCK and its options."""

    grace = 0.0

    def __init__(self, program: Program, how: tuple[str, ...]) -> None:
        self.program = program
        self.port = free_port(program.ports)
        # A folder where no module can be taken for the program's.
        self._nowhere = tempfile.TemporaryDirectory()
        super().__init__(
            "program",
            [sys.executable, *how, *program.command(self.port)],
            environment={
                **os.environ,
                "PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(SERVED)]),
                "PYTHONUNBUFFERED": "1",
            },
            working_directory=Path(self._nowhere.name),
        )

    def stop(self, grace: float | None = None) -> int:
        status = super().stop(grace)
        self._nowhere.cleanup()
        return status

    def wait_ready(self) -> None:
        """Wait until it accepts clients.

        Raises:
            Failed: it has ended, or accepts nobody.
        """
        if not wait_until(lambda: self.poll() is not None or self._accepts(), STUCK):
            raise Failed(f"it accepts nobody\n{self.said()}")
        if self.poll() is not None:
            raise Failed(f"it has ended\n{self.said()}")

    def _accepts(self) -> bool:
        try:
            for port in range(self.port, self.port + self.program.ports):
                socket.create_connection((_HOST, port)).close()
        except OSError:
            return False
        return True

    def said(self) -> str:
        """All that it wrote, to both outputs."""
        return self.stdout.read_text(errors="replace") + self.errors()

    def memory(self) -> int:
        """Bytes of its processes' own pages, once they change no more."""
        before, now = -1, anonymous_pss(tree(self.pid))
        deadline = time.monotonic() + 5
        while abs(now - before) > 16384 and time.monotonic() < deadline:
            time.sleep(0.15)
            before, now = now, anonymous_pss(tree(self.pid))
        return now

    @contextlib.contextmanager
    def idle_clients(self, count: int) -> Iterator[list[socket.socket]]:
        """Clients that are silent, after one exchange where the protocol has such.

        Raises:
            Failed: one was not answered.
        """
        with contextlib.ExitStack() as stack:
            clients = []
            for _ in range(count):
                client = stack.enter_context(
                    socket.create_connection((_HOST, self.port), timeout=STUCK)
                )
                clients.append(client)
                if self.program.question is None:
                    # The standard library's queue of clients not yet accepted has room for five.
                    time.sleep(0.004)
                else:
                    self.exchange(client, self.program.question, self.program.answer)
            yield clients

    def exchange_again(self, client: socket.socket) -> None:
        """One more exchange of an idle client, if its protocol has such.

        Raises:
            Failed: it was not answered.
        """
        program = self.program
        if program.question_again is not None:
            self.exchange(client, program.question_again, program.answer_again)
        elif program.question is not None:
            self.exchange(client, program.question, program.answer)

    def exchange(self, client: socket.socket, question: bytes, answer: bytes) -> None:
        received = b""
        try:
            client.sendall(question)
            while answer not in received:
                part = client.recv(65536)
                if not part:
                    raise Failed(f"it hung up after {received!r}\n{self.said()}")
                received += part
            # The rest of it, so that nothing of it can be taken for the next answer.
            client.settimeout(0.0)
            with contextlib.suppress(BlockingIOError):
                client.recv(65536)
            client.settimeout(STUCK)
        except OSError as error:
            raise Failed(f"{error!r} after {received!r}\n{self.said()}") from error


def ask(program: Program, *runs: Run) -> list[Any]:
    """What the program's client was answered by each, in a process of its own.

    Raises:
        Failed: the client did.
    """
    done = subprocess.run(
        [sys.executable, "-m", "loadtests.programs.clients", program.client]
        + [str(run.port) for run in runs],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=3 * STUCK,
        check=False,
    )
    if done.returncode:
        said = "\n".join(run.said() for run in runs)
        raise Failed(f"the client failed:\n{done.stderr}\nthe program said:\n{said}")
    answers: list[Any] = json.loads(done.stdout.splitlines()[-1])
    return answers
