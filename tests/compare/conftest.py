"""Runs `greensock compare` as a user does, and looks for what it may have left behind."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

import pytest

# One short trial: what is asserted is that it works, never how fast.
SHORT = ["--pin", "none", "--run-time", "1s", "--warmup", "200ms", "--users", "8", "--rate", "200"]
ONE_ROUND = [*SHORT, "--rounds", "1"]


class Command:
    """A `greensock compare` in a folder of its own, all of whose processes carry a mark."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.mark = uuid.uuid4().hex
        self.status: int | None = None
        # Short: a Unix socket lies in it, whose name has room for 107 bytes.
        self.temporary = Path(tempfile.mkdtemp())
        self.process = subprocess.Popen(
            [sys.executable, "-m", "greensock", "compare", *options],
            cwd=folder,
            env={
                **os.environ,
                "GREENSOCK_TEST_MARK": self.mark,
                "TMPDIR": str(self.temporary),
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.out = self.err = ""

    def finish(self) -> int:
        """Wait for it; its exit status."""
        self.out, self.err = self.process.communicate(timeout=300)
        return self.process.returncode

    def end(self) -> None:
        """Kill it if it is still there; its children die with it."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()
        shutil.rmtree(self.temporary, ignore_errors=True)

    def processes(self, text: str = "") -> list[int]:
        """The live processes with the mark whose command contains `text`."""
        found = []
        for folder in Path("/proc").iterdir():
            with contextlib.suppress(OSError, ValueError):
                pid = int(folder.name)
                if self.mark.encode() in (folder / "environ").read_bytes():
                    command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                    if text in command:
                        found.append(pid)
        return found

    def wait_for(self, text: str) -> int:
        """The first process with the mark whose command contains `text`, once there is one."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if found := self.processes(text):
                return found[0]
            assert self.process.poll() is None, self.process.communicate()
            time.sleep(0.05)
        raise AssertionError(f"no process {text!r}")


@pytest.fixture
def compare(tmp_path):
    """Start `greensock compare` with options; killed at the end if it is still there."""
    started = []

    def start(*options):
        command = Command(tmp_path, *options)
        started.append(command)
        return command

    yield start
    for command in started:
        command.end()
