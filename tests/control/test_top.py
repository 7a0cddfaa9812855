"""`greensock top`, and SIGUSR1, as programs."""

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ..clients import ask, connect, eventually, receive_line
from ..separate_process import REPOSITORY, STUCK

TOP = (sys.executable, "-m", "greensock", "top")


def top(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*TOP, *arguments], capture_output=True, text=True, cwd=REPOSITORY, check=False
    )


def test_written_once_where_there_is_no_terminal(served: Callable[..., Any]) -> None:
    with (
        served("greensock.examples:Echo", "--control") as server,
        connect(server.address) as client,
    ):
        ask(client, b"x\n")
        done = top(str(server.pid), "--sort", "idle")
        assert done.returncode == 0, done.stderr
        first, second, head, row = done.stdout.splitlines()
        assert first.startswith("TCPServer with Echo on 127.0.0.1:")
        assert second.startswith("1 open: 1 parked, 0 busy; 1 accepted, ")
        assert head.split() == ["PEER", "STATE", "IDLE", "RECEIVED", "SENT", "WHERE"]
        assert row.split()[1] == "parked"
        document = json.loads(top(str(server.pid), "--json").stdout)
        assert [each["state"] for each in document["clients"]] == ["parked"]
        assert document["pid"] == server.pid


@pytest.mark.parametrize("mixin", ["greenlet", "forking"])
def test_bytes_of_who_has_gone_are_told_if_they_are_counted(
    served: Callable[..., Any], mixin: str
) -> None:
    arguments = ("greensock.examples:Echo", "--mixin", mixin, "--control")
    with served(*arguments, "--set", "count_bytes=True") as server:
        with connect(server.address) as client:
            ask(client, b"four\n")
        expected = "5 bytes_received, 5 bytes_sent"
        eventually(lambda: expected in top(str(server.pid)).stdout)
    with served(*arguments) as server:
        assert "bytes" not in top(str(server.pid)).stdout


def test_live_on_a_terminal_until_q(served: Callable[..., Any]) -> None:
    with (
        served("greensock.examples:Echo", "--control") as server,
        connect(server.address) as client,
    ):
        ask(client, b"x\n")
        terminal, other_end = pty.openpty()
        command = [*TOP, str(server.pid), "--interval", "0.01"]
        with subprocess.Popen(
            command, stdin=other_end, stdout=other_end, stderr=other_end, cwd=REPOSITORY
        ) as process:
            os.close(other_end)
            screen = read_until(terminal, b"parked")
            os.write(terminal, b"i")
            screen = read_until(terminal, b"\x1b[1mIDLE\x1b[0m")
            os.write(terminal, b"q")
            assert process.wait(STUCK) == 0
            screen = read_until(terminal, b"\x1b[?1049l")
            assert screen.endswith(b"\x1b[?1049l")
        os.close(terminal)


def read_until(terminal: int, wanted: bytes) -> bytes:
    screen = b""
    deadline = time.monotonic() + STUCK
    while wanted not in screen:
        readable, _, _ = select.select([terminal], [], [], deadline - time.monotonic())
        assert readable, screen
        screen += os.read(terminal, 65536)
    return screen


def test_mistakes_get_one_line_and_status_2(runtime_folder: Path) -> None:
    for arguments, message in (
        (["nowhere"], "address must be host:port"),
        (["127.0.0.1:9"], "has a control socket"),
        ([str(os.getpid())], "has no control socket"),
        (["1", "--interval", "0"], "--interval must be more than 0"),
    ):
        done = top(*arguments)
        assert done.returncode == 2
        assert message in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_sigusr1_writes_the_table_even_while_a_handler_computes(
    served: Callable[..., Any],
) -> None:
    with (
        served("tests.control.served_here:Computing") as server,
        connect(server.address) as idle,
        connect(server.address) as computing,
    ):
        assert ask(idle, b"0\n") == b"computing\n"
        computing.sendall(b"60\n")
        assert receive_line(computing) == b"computing\n"
        os.kill(server.pid, signal.SIGUSR1)
        eventually(lambda: "parked" in server.errors())
        eventually(lambda: server.errors().endswith("\n"))
        busy = [line for line in server.errors().splitlines() if " busy " in line]
        assert "served_here.py" in busy[-1]
        assert "Computing.handle_one_request" in busy[-1]


@pytest.mark.parametrize("mixin", ["greenlet", "forking"])
def test_sigusr1_is_not_the_end(served: Callable[..., Any], mixin: str) -> None:
    with (
        served("greensock.examples:Echo", "--mixin", mixin) as server,
        connect(server.address) as client,
    ):
        ask(client, b"x\n")
        os.kill(server.pid, signal.SIGUSR1)
        eventually(lambda: "1 open" in server.errors())
        assert ask(client, b"y\n") == b"y\n"
