"""README says what is so: its programs, commands, options and names are tried as they stand there.

Every Python block begins with a comment that is its file's name. All are written to one folder,
as a reader would, and run from there; only ports become free ones.
"""

import contextlib
import functools
import http.client
import json
import re
import shlex
import signal
import socket
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

import greensock.cli
from greensock.cli import compare, serve
from greensock.compare.metrics import METRICS
from greensock.compare.options import understand
from greensock.compare.scenarios import SCENARIOS
from greensock.compare.thresholds import parse_threshold

from .clients import answer_of, ask, clients, connect, eventually, receive_line
from .separate_process import REPOSITORY, STUCK

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
PROGRAMS = {
    code.partition("\n")[0].removeprefix("# "): code for kind, code in BLOCKS if kind == "python"
}
COMMANDS = [
    line.removeprefix("$ ")
    for kind, text in BLOCKS
    if kind == "console"
    for line in text.split("\n")
]
SET_UP = [line for line in README.split("\n") if line.startswith("python3 -m venv")]
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]+")

GREENSOCK = (sys.executable, "-m", "greensock")
LOCUST = (sys.executable, "-m", "locust")


def commands(program: str) -> list[str]:
    return [line for line in COMMANDS if line.startswith(program)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with all of README's programs, and what they find in a clone."""
    for name, code in PROGRAMS.items():
        tmp_path.joinpath(name).write_text(code.replace("9999", "0"), encoding="utf-8")
    tmp_path.joinpath("loadtests").symlink_to(REPOSITORY / "loadtests")
    tmp_path.joinpath("index.html").write_text("<p>Hello.\n", encoding="utf-8")
    return tmp_path


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


def upper(process: psutil.Process, address: Any) -> None:
    assert answer_of(address, b"shout\n") == b"SHOUT\n"


def count(process: psutil.Process, address: Any) -> None:
    with connect(address) as first, connect(address) as second:
        assert ask(first, b"a\n") == b"1 a\n"
        assert ask(second, b"b\n") == b"1 b\n"
        assert ask(first, b"c\n") == b"2 c\n"
        assert ask(first, b"bye\n") == b"3 bye\n"
        assert first.recv(1) == b""


def page(process: psutil.Process, address: Any) -> None:
    before = process.num_threads()
    connections = [http.client.HTTPConnection(*address) for _ in range(5)]
    with contextlib.ExitStack() as stack:
        for connection in connections:
            stack.callback(connection.close)
            assert get(connection, "/") == b"Hello.\n"
        # Parked: the clients are there, and their threads are not.
        eventually(lambda: process.num_threads() == before)
        assert [get(connection, "/") for connection in connections] == [b"Hello.\n"] * 5


def files(process: psutil.Process, address: Any) -> None:
    before = process.num_threads()
    with contextlib.closing(http.client.HTTPConnection(*address)) as connection:
        assert get(connection, "/index.html") == b"<p>Hello.\n"
        eventually(lambda: process.num_threads() == before)
        assert get(connection, "/index.html") == b"<p>Hello.\n"


def get(connection: http.client.HTTPConnection, path: str) -> bytes:
    connection.request("GET", path)
    response = connection.getresponse()
    assert response.version == 11
    assert not response.will_close
    return response.read()


def deferred(process: psutil.Process, address: Any) -> None:
    before = process.num_threads()
    with clients(address, 20), connect(address) as talker:
        # Answered, so the twenty before it have been accepted.
        assert ask(talker, b"Hello\n") == b"hELLO\n"
        assert process.num_threads() == before + 1


def news(process: psutil.Process, address: Any) -> None:
    with clients(address, 3) as (speaker, *audience):
        # An answer to each other says that all are known to the server.
        for member in audience:
            hear_of(speaker, member)
        speaker.sendall(b"news\n")
        for member in audience:
            assert b"news\n" in iter(functools.partial(receive_line, member), b"")


def hear_of(speaker: socket.socket, member: socket.socket) -> None:
    """Until what the member says reaches the speaker: both have been set up then."""
    member.sendall(b"I am here\n")
    assert receive_line(speaker) == b"I am here\n"


CONVERSATIONS: dict[str, Callable[[psutil.Process, Any], None]] = {
    "upper.py": upper,
    "count.py": count,
    "page.py": page,
    "files.py": files,
    "deferred.py": deferred,
    "news.py": news,
}


def test_every_program_is_run_here() -> None:
    assert set(PROGRAMS) == {*CONVERSATIONS, "test_count.py", "locust_count.py"}


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_program_answers(folder: Path, name: str) -> None:
    with program(folder, name) as (process, address):
        CONVERSATIONS[name](process, address)
    assert "Traceback" not in folder.joinpath("stderr").read_text()


@pytest.mark.parametrize("mixin", serve.MIXINS)
def test_idle_clients_hold_nothing_but_themselves(folder: Path, mixin: str) -> None:
    with served(folder, "count.py:Count", mixin) as (process, address):
        threads = process.num_threads()
        with clients(address, 20) as crowd:
            if mixin == "forking":
                # What a turn changes stays in its child.
                assert {ask(client, b"x\n") for client in crowd} == {b"1 x\n"}
            else:
                assert {ask(client, b"x\n") for client in crowd} == {b"1 x\n"}
                assert {ask(client, b"x\n") for client in crowd} == {b"2 x\n"}
            eventually(lambda: process.num_threads() == threads and not process.children())
            assert ask(crowd[0], b"y\n").endswith(b" y\n")


def test_test_passes(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_count.py"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert "1 passed" in done.stdout, done.stdout


@pytest.mark.parametrize("command", commands("greensock serve"))
def test_serve_command_serves(folder: Path, command: str) -> None:
    arguments = shlex.split(command.replace("9999", "0"))[1:]
    if "--bind" not in arguments:
        arguments += ["--bind", "127.0.0.1:0"]
    with started((*GREENSOCK, *arguments), folder) as process:
        assert process.stdout is not None
        ready = process.stdout.readline()
        assert re.fullmatch(r"listening on (tcp://|udp://|unix:)\S+\n", ready), ready
        process.send_signal(signal.SIGTERM)
        assert process.wait(STUCK) == 0


@pytest.mark.parametrize("command", [*commands("greensock compare"), "[tool.greensock.compare]"])
def test_compare_options_are_understood(
    folder: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    if command.startswith("["):
        (section,) = (text for kind, text in BLOCKS if kind == "toml")
        folder.joinpath("pyproject.toml").write_text(section, encoding="utf-8")
        command = "greensock compare"
    arguments = greensock.cli._parser().parse_args(shlex.split(command)[1:])
    assert arguments.run is compare.run
    plan, _ = understand(arguments, open_files=20_000)
    for text in plan.thresholds:
        parse_threshold(text, plan.contenders)
    place = plan.target.partition(":")[0]
    assert not place.endswith(".py") or place in PROGRAMS
    if folder.joinpath("pyproject.toml").exists():
        assert (plan.target, plan.idle, len(plan.thresholds)) == ("count.py:Count", 5000, 2)


def test_locustfile_of_ones_own_loads_its_server(folder: Path) -> None:
    (command,) = (line for line in commands("locust") if "-f locust_count.py" in line)
    with served(folder, "count.py:Count", "greenlet") as (_, (_, port)):
        arguments = shlex.split(command.replace("9999", str(port)))[1:]
        done = subprocess.run(
            [*LOCUST, *arguments, "-t", "2s", "--collect", "run.json"],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.returncode == 0, done.stderr
    assert '"count"' in (collected := folder.joinpath("run.json").read_text())
    assert '"count three"' in collected
    assert json.loads(collected)


def test_locustfiles_are_those_of_loadtests(folder: Path) -> None:
    listed = re.findall(r"^\| `(locust_\w+\.py)` \|", README, re.MULTILINE)
    assert sorted(listed) == sorted(path.name for path in REPOSITORY.glob("loadtests/locust_*.py"))
    for command in commands("locust"):
        arguments = shlex.split(command)
        assert folder.joinpath(arguments[arguments.index("-f") + 1]).is_file()


@pytest.mark.parametrize("command", commands("python -m loadtests.peers"))
def test_peers_command_is_understood(command: str) -> None:
    done = subprocess.run(
        [sys.executable, *shlex.split(command)[1:], "--list"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "epoll" in done.stdout


def test_every_option_named_exists() -> None:
    helps = [
        [*GREENSOCK, "serve", "--help"],
        [*GREENSOCK, "compare", "--help"],
        [sys.executable, "-m", "loadtests.peers", "--help"],
        [*LOCUST, "--help"],
    ]
    known = {
        option
        for command in helps
        for option in OPTION.findall(
            subprocess.run(
                command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=True
            ).stdout
        )
    }
    # Those of locustfiles, which locust's help does not know of.
    for folder in ("loadtests", "greensock/loadtest"):
        for path in REPOSITORY.joinpath(folder).glob("*.py"):
            known |= set(re.findall(r'add_argument\(\s*"(--[\w-]+)"', path.read_text()))
    assert set(OPTION.findall(README)) <= known


def test_every_scenario_and_metric_is_named() -> None:
    assert [name for name in (*SCENARIOS, *METRICS) if f"`{name}`" not in README] == []


def test_every_name_of_greensock_that_is_used_exists() -> None:
    """Classes and class attributes in code spans: those that greensock once had, too."""
    public = {
        attribute
        for name in greensock.__all__
        for attribute in (name, *dir(getattr(greensock, name)))
    }
    spans = set(re.findall(r"`((?:max|allow|disable|defer|block|parkable|linger)\w*)`", README))
    spans |= set(re.findall(r"`(\w+(?:Server|MixIn|RequestHandler))`", README))
    elsewhere = {"ThreadingHTTPServer", "SimpleXMLRPCServer", "StreamServer"}
    assert spans - public - elsewhere - set(METRICS) == set()


def test_set_up_commands_share_an_environment() -> None:
    extras = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    main, tests = SET_UP
    for command in SET_UP:
        assert command.startswith("python3 -m venv .venv && .venv/bin/pip install -q -e '.[")
    assert main.endswith("&& .venv/bin/greensock compare")
    assert tests.endswith("&& .venv/bin/python -m pytest -q")
    named = re.findall(r"-e '\.\[(\w+)\]'", README)
    assert named[:2] == ["loadtest", "test"]
    assert set(named) <= set(extras)


def test_ci_runs_the_test_command_of_readme() -> None:
    script = REPOSITORY.joinpath(".ci/run").read_text(encoding="utf-8")
    (pattern,) = re.findall(r"grep '(.+)' README\.md", script)
    assert [line for line in README.split("\n") if re.search(pattern, line)] == [SET_UP[1]]
