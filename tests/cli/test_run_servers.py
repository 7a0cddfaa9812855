"""The servers of a program under `greensock run`: shown, and stopped without losing anybody."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ..clients import ask, connect, eventually, receive_line
from ..separate_process import REPOSITORY, STUCK
from .started import ENVIRONMENT, ended, greensock_run

PROGRAM = """
import socketserver, sys, threading, time

class Echo(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(line)

class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True

servers = [Server(("127.0.0.1", 0), Echo) for _ in "ab"]
print(*(server.server_address[1] for server in servers), flush=True)
thread = threading.Thread(target=servers[0].serve_forever)
thread.start()
try:
    if sys.argv[1] == "main":
        servers[1].serve_forever()
    else:
        threading.Thread(target=servers[1].serve_forever).start()
        while True:
            # A signal that comes as it begins is seen at its end, by any Python.
            time.sleep(0.05)
except KeyboardInterrupt:
    print("interrupted", flush=True)
finally:
    for server in servers:
        server.shutdown()
        server.server_close()
    print("ended", flush=True)
"""

MODES = ((), ("--no-monkey", "--mixin", "threading"))


@contextmanager
def program(
    folder: Path, options: tuple[str, ...], where: str = "main"
) -> Iterator[tuple[list[tuple[str, int]], "subprocess.Popen[str]"]]:
    (folder / "program.py").write_text(PROGRAM)
    environment = {**ENVIRONMENT, "XDG_RUNTIME_DIR": str(folder)}
    environment["PYTHONWARNINGS"] = "error,ignore::ResourceWarning"
    with subprocess.Popen(
        greensock_run(*options, str(folder / "program.py"), where),
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            ports = process.stdout.readline().split()
            assert len(ports) == 2, process.communicate()
            yield [("127.0.0.1", int(port)) for port in ports], process
        finally:
            process.kill()


def top(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "greensock", "top", *arguments],
        env={**os.environ, "XDG_RUNTIME_DIR": str(folder)},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("options", MODES)
def test_top_shows_each_server(tmp_path: Path, options: tuple[str, ...]) -> None:
    with program(tmp_path, ("--control", *options)) as (addresses, process):
        for address in addresses:
            with connect(address) as client:
                assert ask(client, b"x\n") == b"x\n"
                shown = json.loads(top(tmp_path, f"127.0.0.1:{address[1]}", "--json").stdout)
                assert shown["pid"] == process.pid
                assert [each["state"] for each in shown["clients"]] == ["busy"]
                assert shown["class"] == "Server"
                named = top(tmp_path, f"localhost:{address[1]}", "--once")
                assert named.returncode == 0, named.stderr
        several = top(tmp_path, str(process.pid))
        assert several.returncode == 2
        for _, port in addresses:
            assert f"127.0.0.1:{port}" in several.stderr
    assert process.wait(STUCK)


@pytest.mark.parametrize("options", MODES)
def test_metrics_are_of_all_servers(tmp_path: Path, options: tuple[str, ...]) -> None:
    with program(tmp_path, ("--metrics", "127.0.0.1:0", *options)) as (addresses, process):
        assert process.stderr is not None
        url = process.stderr.readline().strip().removeprefix("metrics on ")

        def read() -> str:
            with urllib.request.urlopen(url, timeout=STUCK) as answer:
                return str(answer.read().decode())

        for _, port in addresses:
            expected = f'greensock_open{{server="Server 127.0.0.1:{port}"}} 0.0'
            eventually(lambda expected=expected: expected in read())  # type: ignore[misc]
        assert read().count("# HELP greensock_open ") == 1


@pytest.mark.parametrize("where", ["main", "threads"])
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("options", MODES)
def test_busy_clients_may_finish(
    tmp_path: Path, options: tuple[str, ...], how: signal.Signals, where: str
) -> None:
    options = ("--graceful-timeout", "60", *options)
    with program(tmp_path, options, where) as (addresses, process):
        clients = [connect(address) for address in addresses]
        for client in clients:
            assert ask(client, b"x\n") == b"x\n"
        process.send_signal(how)
        for address in addresses:
            eventually(lambda address=address: is_refused(address))  # type: ignore[misc]
        for client in clients:
            assert ask(client, b"y\n") == b"y\n"
            client.close()
        out, err = process.communicate(timeout=STUCK)
    told = "interrupted\n" if how == signal.SIGINT and where == "threads" else ""
    assert (process.returncode, out, err) == (0, f"{told}ended\n", "")


@pytest.mark.parametrize("where", ["main", "threads"])
@pytest.mark.parametrize("options", MODES)
def test_second_signal_does_not_wait(tmp_path: Path, options: tuple[str, ...], where: str) -> None:
    options = ("--graceful-timeout", "60", *options)
    with program(tmp_path, options, where) as (addresses, process):
        clients = [connect(address) for address in addresses]
        for client in clients:
            assert ask(client, b"x\n") == b"x\n"
        process.send_signal(signal.SIGTERM)
        for address in addresses:
            eventually(lambda address=address: is_refused(address))  # type: ignore[misc]
        process.send_signal(signal.SIGTERM)
        for client in clients:
            assert receive_line(client) == b""
            client.close()
        out, err = process.communicate(timeout=STUCK)
    assert (process.returncode, out) == (0, "ended\n")
    assert re.search("cut after", err)


def is_refused(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address).close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:
        return False
    return False


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--metrics", "nowhere"), "--metrics: address must be host:port"),
        (("--metrics", "192.0.2.1:1"), "--metrics: cannot listen on tcp://192.0.2.1:1"),
        (("--metrics", "udp://127.0.0.1:1"), "--metrics: address must be host:port"),
        (("--graceful-timeout", "-1"), "--graceful-timeout must be seconds"),
        (("--graceful-timeout", "soon"), "--graceful-timeout"),
        (("--check", "--control"), "--check serves nobody: leave out --control"),
        (("--check", "--graceful-timeout", "5"), "leave out --graceful-timeout"),
        (("--set", "handle=5"), "has an attribute handle"),
        (("--set", "timeout=abc"), "timeout must be a positive number of seconds"),
        (("--set", "tcp_nodelay=no"), "tcp_nodelay must be True or False"),
        (("--set", "Echo.tiemout=5"), "Echo has no attribute tiemout"),
        (("--set", "Echo.timeout=soon"), "timeout must be a positive number of seconds"),
    ],
)
def test_mistake_gets_one_line_and_status_2(
    tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    status, out, err = ended(greensock_run(*options, "program.py", "main"), tmp_path)
    assert (status, out) == (2, "")
    assert message in err.splitlines()[-1]
    assert "Traceback" not in err


def test_control_folder_that_is_not_private_is_told_before_the_program_runs(tmp_path: Path) -> None:
    (tmp_path / "greensock").mkdir(mode=0o755)
    done = subprocess.run(
        greensock_run("--control", "-c", "print('ran')"),
        env={**ENVIRONMENT, "XDG_RUNTIME_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert "--control" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_longest_line_is_set_for_a_program(tmp_path: Path) -> None:
    code = """if 1:
    import socketserver
    class One(socketserver.StreamRequestHandler): ...
    print(One.max_line_size)
    """
    command = greensock_run("--set", "max_line_size=7", "-c", code)
    assert ended(command, tmp_path) == (0, "7\n", "")
