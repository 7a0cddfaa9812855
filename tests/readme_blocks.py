"""The blocks of README and of the guides, and their programs and commands run as a reader would.

Every Python block begins with a comment that is its file's name. All are written to one folder, and
run from there; only ports become free ones.
"""

import contextlib
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from .clients import eventually
from .separate_process import REPOSITORY, STUCK

#: What newcomers read.
FRONT = (REPOSITORY / "README.md").read_text(encoding="utf-8")
DOCUMENTS = [
    REPOSITORY / folder / "README.md" for folder in ("", "greensock", "loadtests", "tests")
]
#: All that is written for users, one after the other.
README = "".join(path.read_text(encoding="utf-8") for path in DOCUMENTS)
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
PROGRAMS = {
    code.partition("\n")[0].removeprefix("# "): code for kind, code in BLOCKS if kind == "python"
}
#: Each once: the guide has those of README too.
COMMANDS = dict.fromkeys(
    line.removeprefix("$ ")
    for kind, text in BLOCKS
    if kind == "console"
    for line in text.split("\n")
)

GREENSOCK = (sys.executable, "-m", "greensock")


def commands(program: str) -> list[str]:
    return [line for line in COMMANDS if line.startswith(program)]


def write_programs(folder: Path) -> None:
    """Write all programs, and what they find in a clone, into an empty folder."""
    for name, code in PROGRAMS.items():
        folder.joinpath(name).write_text(code.replace("9999", "0"), encoding="utf-8")
    folder.joinpath("loadtests").symlink_to(REPOSITORY / "loadtests")
    folder.joinpath("index.html").write_text("<p>Hello.\n", encoding="utf-8")
    for command in commands("openssl"):
        subprocess.run(shlex.split(command), cwd=folder, check=True, capture_output=True)


@contextlib.contextmanager
def started(command: tuple[str, ...], folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that ends with the block, by SIGTERM."""
    with (
        folder.joinpath("stderr").open("w") as errors,
        subprocess.Popen(
            command, cwd=folder, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(STUCK)
            except subprocess.TimeoutExpired:
                process.kill()
                raise


@contextlib.contextmanager
def program(folder: Path, name: str) -> Iterator[tuple[psutil.Process, Any]]:
    """README's program `name`, run as it stands there, and the address it listens on."""
    with started((sys.executable, name), folder) as process:
        found = psutil.Process(process.pid)
        eventually(lambda: process.poll() is not None or listeners(found))
        assert process.poll() is None, folder.joinpath("stderr").read_text()
        (address,) = listeners(found)
        yield found, address


def listeners(process: psutil.Process) -> list[Any]:
    with contextlib.suppress(psutil.Error):
        every = process.net_connections(kind="tcp")
        return [tuple(one.laddr) for one in every if one.status == psutil.CONN_LISTEN]
    return []


@contextlib.contextmanager
def served(folder: Path, target: str, mixin: str) -> Iterator[tuple[psutil.Process, Any]]:
    command = (*GREENSOCK, "serve", target, "--mixin", mixin, "--bind", "127.0.0.1:0")
    with started(command, folder) as process:
        yield psutil.Process(process.pid), address_of(process)


def address_of(process: subprocess.Popen[str]) -> Any:
    assert process.stdout is not None
    line = process.stdout.readline()
    found = re.fullmatch(r"listening on tcp://(.+):(\d+)\n", line)
    assert found is not None, line
    return found[1], int(found[2])
