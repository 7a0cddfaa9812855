"""`greensock serve`, as a program."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from greensock import ForkingMixIn, GreenletMixIn, ThreadingMixIn
from greensock.arguments.usage import UsageError
from greensock.cli.serve import make_server
from greensock.examples import Echo
from greensock.net import addresses

from ..clients import ask, connect, eventually, receive_line
from ..separate_process import REPOSITORY, STUCK
from ..server_kinds import MIXINS


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "greensock", "serve", *arguments]


@contextlib.contextmanager
def serve(*arguments: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A server in a process of its own; yields the line that it announces itself with."""
    with subprocess.Popen(
        command(*arguments), stdout=subprocess.PIPE, text=True, cwd=REPOSITORY
    ) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip(), process
        finally:
            process.terminate()
            assert process.wait(STUCK) == 0
            assert process.stdout.read() == ""


@pytest.mark.parametrize("options", [(), ("--metrics", "127.0.0.1:0")])
def test_no_thread_is_there_when_a_server_forks(
    options: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    """One might hold a lock for ever in the child: Python 3.12 and later warn of that."""
    monkeypatch.setenv("PYTHONWARNINGS", "always::DeprecationWarning")
    arguments = ("greensock.examples:ClassicEcho", "--mixin", "forking", "--bind", "127.0.0.1:0")
    with serve(*arguments, *options) as (line, process), connect(address_of(line)) as client:
        assert ask(client, b"x\n") == b"x\n"
        assert len(os.listdir(f"/proc/{process.pid}/task")) == 1
    assert "fork()" not in capfd.readouterr().err


def address_of(line: str) -> tuple[str, int]:
    address = addresses.parse(line.removeprefix("listening on "))
    return address.host, address.port


@pytest.mark.parametrize("mixin", MIXINS)
def test_handler_is_served_under_a_mixin(mixin: str) -> None:
    with serve("greensock.examples:Echo", "--mixin", mixin, "--bind", "127.0.0.1:0") as (line, _):
        assert line.startswith("listening on tcp://127.0.0.1:")
        with connect(address_of(line)) as client:
            assert ask(client, b"x\n") == b"x\n"
            # Ended by SIGTERM with a client parked.


@pytest.mark.parametrize("mixin", ["greenlet", "threading", "forking"])
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.expect_warnings("cut after .* s: ")
def test_signal_ends_it_while_a_client_is_served(mixin: str, how: signal.Signals) -> None:
    arguments = ("greensock.examples:ClassicEcho", "--mixin", mixin, "--bind", "tcp://[::1]:0")
    with serve(*arguments) as (line, process):
        host, port = address_of(line)
        with socket.create_connection((host, port)) as client:
            client.sendall(b"x\n")
            assert client.recv(2) == b"x\n"
            process.send_signal(how)
            # It lets its handlers finish, and this one waits for its client: the listener is gone.
            eventually(lambda: is_refused(host, port))
            assert process.poll() is None
            client.sendall(b"y\n")
            assert client.recv(2) == b"y\n"
            # The second does not wait.
            process.send_signal(how)
            assert process.wait(STUCK) == 0
            assert client.recv(2) == b""


def is_refused(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port)).close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:
        # It came between the last accept and the listener's end, which no server can make one.
        return False
    return False


@pytest.mark.expect_warnings("cut after .* s: ")
def test_busy_handler_has_its_time_after_a_signal() -> None:
    arguments = ("greensock.examples:ClassicEcho", "--bind", "127.0.0.1:0")
    with serve(*arguments, "--set", "graceful_timeout=0.2") as (line, process):
        with connect(address_of(line)) as client:
            assert ask(client, b"x\n") == b"x\n"
            process.send_signal(signal.SIGTERM)
            assert receive_line(client) == b""
        assert process.wait(STUCK) == 0


def test_datagrams_are_served() -> None:
    with serve("greensock.examples:Upper", "--bind", "udp://127.0.0.1:0") as (line, _):
        assert line.startswith("listening on udp://127.0.0.1:")
        with socket.socket(type=socket.SOCK_DGRAM) as client:
            client.settimeout(STUCK)
            client.sendto(b"hello", address_of(line))
            assert client.recv(100) == b"HELLO"


def test_unix_socket_is_served_and_removed(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as stale:
        # What a server that was killed leaves behind.
        stale.bind(path)
    with serve("greensock.examples:Echo", "--bind", f"unix:{path}") as (line, _):
        assert line == f"listening on unix:{path}"
        with connect(path) as client:
            assert ask(client, b"x\n") == b"x\n"
    assert not os.path.exists(path)


def test_server_class_in_a_file_is_served(tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_text(
        "import greensock\n"
        "class Own(greensock.TCPServer):\n"
        "    greeting = b'hello'\n"
        "    class RequestHandlerClass(greensock.StreamRequestHandler):\n"
        "        def handle(self):\n"
        "            self.wfile.write(self.server.greeting + b'\\n')\n"
    )
    arguments = (f"{file}:Own", "--bind", "127.0.0.1:0", "--set", "greeting=b'good day'")
    with serve(*arguments) as (line, _), connect(address_of(line)) as client:
        assert receive_line(client) in (b"good day\n", b"b'good day'\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["greensock.examples:Nobody"], "Nobody"),
        (["no_such_module:Echo"], "no_such_module"),
        (["greensock.examples"], "greensock.examples"),
        (["greensock.examples:Echo", "--bind", "nowhere"], "--bind: address must be host:port"),
        (
            ["greensock.examples:Echo", "--bind", "192.0.2.1:1"],
            "cannot listen on tcp://192.0.2.1:1",
        ),
        (["greensock.examples:Echo", "--set", "no_such=1"], "has no attribute no_such"),
        (["builtins:int"], "int is no handler and no server"),
        (["greensock:GreenletMixIn"], "GreenletMixIn is no handler and no server"),
        (["http.server:HTTPServer"], "HTTPServer is a server of the standard library"),
        (["greensock:TCPServer"], "must have a class attribute RequestHandlerClass"),
        (["greensock.examples:Echo", "--set", "linger=-1", "--mixin", "forking"], "0 or more"),
        (["greensock.examples:Echo", "--set", "request_queue_size=-5"], "0 or more"),
        (["greensock.examples:Echo", "--bind"], "argument --bind: expected one argument"),
        ([], "the following arguments are required: TARGET"),
        (["greensock.examples:Echo", "--mixin", "fibers"], "fibers"),
        (
            ["greensock.examples:Echo", "--set", "max_connections=-1"],
            "--set: max_connections must be a positive integer or None, not -1",
        ),
    ],
)
def test_mistake_gets_one_line_and_status_2(arguments: list[str], message: str) -> None:
    done = subprocess.run(
        command(*arguments), capture_output=True, text=True, cwd=REPOSITORY, check=False
    )
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


def test_settings_become_attributes_and_mixins_come_first() -> None:
    address = addresses.parse("127.0.0.1:0")
    for mixin in (GreenletMixIn, ThreadingMixIn, ForkingMixIn):
        with make_server(Echo, mixin, address, {"block_on_close": False}) as server:
            assert isinstance(server, mixin)
            assert server.block_on_close is False
            assert server.allow_reuse_address is True


def test_address_in_use_is_a_mistake_of_the_user() -> None:
    address = addresses.parse("127.0.0.1:0")
    with make_server(Echo, None, address, {}) as server:
        taken = addresses.parse(f"127.0.0.1:{server.server_address[1]}")
        with pytest.raises(UsageError, match=r"cannot listen on tcp://127\.0\.0\.1"):
            make_server(Echo, None, taken, {})


def test_without_a_limit_handlers_have_as_long_as_they_need() -> None:
    arguments = ("greensock.examples:ClassicEcho", "--bind", "127.0.0.1:0")
    with serve(*arguments, "--set", "graceful_timeout=None") as (line, process):
        address = address_of(line)
        with connect(address) as client:
            assert ask(client, b"x\n") == b"x\n"
            process.send_signal(signal.SIGTERM)
            eventually(lambda: is_refused(*address))
            assert ask(client, b"y\n") == b"y\n"
        assert process.wait(STUCK) == 0


def test_module_that_ends_the_program_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "ends.py").write_text("import sys\nsys.exit(3)\n")
    done = subprocess.run(
        command(f"{tmp_path}/ends.py:Handler"), capture_output=True, text=True, cwd=REPOSITORY
    )
    assert done.returncode == 2
    assert done.stderr.endswith("cannot be imported: SystemExit: 3\n")
