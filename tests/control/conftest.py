"""A server in a process of its own that can be looked into."""

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pytest

from greensock.net import addresses

from ..separate_process import REPOSITORY, STUCK


@dataclass
class Served:
    """A server, and where it listens."""

    process: subprocess.Popen[str]
    address: Any
    _errors: IO[str]

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def metrics(self) -> str:
        """The URL that it has told."""
        (line,) = (each for each in self.errors().splitlines() if each.startswith("metrics on "))
        return line.removeprefix("metrics on ")

    def errors(self) -> str:
        return os.pread(self._errors.fileno(), 1 << 20, 0).decode()


@contextlib.contextmanager
def _served(*arguments: str, before: Callable[[], None] | None = None) -> Iterator[Served]:
    command = [sys.executable, "-m", "greensock", "serve", "--bind", "127.0.0.1:0", *arguments]
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            cwd=REPOSITORY,
            preexec_fn=before,
        ) as process,
    ):
        try:
            assert process.stdout is not None
            line = process.stdout.readline().strip()
            address = addresses.parse(line.removeprefix("listening on ")).sockaddr
            yield Served(process, address, errors)
        finally:
            process.kill()
            process.wait(STUCK)


@pytest.fixture
def runtime_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where control sockets are, for this test alone."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path / "greensock"


@pytest.fixture
def served(runtime_folder: Path) -> Callable[..., Any]:
    """`with served(*arguments) as server:` a `greensock serve` on a free port."""
    return _served
