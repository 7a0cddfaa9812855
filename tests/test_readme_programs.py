"""The programs in README do what it says of them."""

import contextlib
import functools
import http.client
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from greensock.cli import serve

from .clients import answer_of, ask, clients, connect, eventually, receive_line
from .readme_blocks import PROGRAMS, program, served, write_programs
from .separate_process import STUCK


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    write_programs(tmp_path)
    return tmp_path


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
    with contextlib.closing(http.client.HTTPConnection(*address)) as connection:
        assert get(connection, "/index.html") == b"<p>Hello.\n"
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
    hang_up_on_who_does_not_read(address)


def hang_up_on_who_does_not_read(address: Any) -> None:
    # More than the kernel keeps for the silent one, and a thousand lines.
    line, number = b"x" * 8000 + b"\n", 3000
    with clients(address, 3) as (speaker, silent, listener):
        hear_of(speaker, silent)
        hear_of(speaker, listener)
        talking = threading.Thread(target=lambda: [speaker.sendall(line) for _ in range(number)])
        talking.start()
        with listener.makefile("rb") as heard:
            assert all(heard.readline() == line for _ in range(number))
        talking.join()
        with silent.makefile("rb") as heard:
            lines = list(heard)
    # What it has got is whole lines in order, but for the last.
    assert 0 < len(lines) < number
    assert {*lines[:-1]} <= {line, b"I am here\n"}


def hear_of(speaker: socket.socket, member: socket.socket) -> None:
    """Until what the member says reaches the speaker: both have been set up then."""
    member.sendall(b"I am here\n")
    assert receive_line(speaker) == b"I am here\n"


def secure(process: psutil.Process, address: Any) -> None:
    context = ssl.create_default_context(cafile=process.cwd() + "/server.pem")

    def served() -> None:
        with context.wrap_socket(connect(address), server_hostname="localhost") as client:
            assert ask(client, b"x\n") == b"TLSv1.3 x\n"

    served()
    path = Path(process.cwd(), "server.pem")
    good = path.read_text()
    for bad in ("", "nonsense", None):
        path.write_text(bad) if bad is not None else path.unlink()
        process.send_signal(signal.SIGHUP)
        served()
    path.write_text(good)
    process.send_signal(signal.SIGHUP)
    served()


def limited(process: psutil.Process, address: Any) -> None:
    with clients(address, 50):
        # They are of one address; those of another are served.
        with connect(address) as one_too_many:
            assert receive_line(one_too_many) == b"busy, come back later\n"
        with socket.create_connection(address, STUCK, ("127.0.0.2", 0)) as other:
            assert ask(other, b"x\n") == b"x\n"


def stopping(process: psutil.Process, address: Any) -> None:
    with connect(address) as client, connect(address) as other:
        assert ask(client, b"x\n") == b"x\n"
        # Its answer is there before the turn is over; once another has had one, it is parked.
        assert ask(other, b"x\n") == b"x\n"
        process.terminate()
        assert receive_line(client) == b"goodbye\n"
        assert client.recv(1) == b""


def watched(process: psutil.Process, address: Any) -> None:
    with connect(address) as first, connect(address):
        eventually(lambda: ask(first, b"x\n") == b"2 open, 1 busy, 1 parked\n")


CONVERSATIONS: dict[str, Callable[[psutil.Process, Any], None]] = {
    "upper.py": upper,
    "count.py": count,
    "page.py": page,
    "folder.py": files,
    "deferred.py": deferred,
    "news.py": news,
    "secure.py": secure,
    "limited.py": limited,
    "stopping.py": stopping,
    "watched.py": watched,
}


def test_every_program_is_run_here() -> None:
    others = {"test_count.py", "locust_count.py", "exported.py"}
    assert set(PROGRAMS) == {*CONVERSATIONS, *others}


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_program_answers(folder: Path, name: str) -> None:
    with program(folder, name) as (process, address):
        CONVERSATIONS[name](process, address)
    assert "Traceback" not in folder.joinpath("stderr").read_text()


@pytest.mark.parametrize("mixin", serve.MIXINS)
def test_idle_clients_hold_nothing_but_themselves(folder: Path, mixin: str) -> None:
    with served(folder, "count.py:Count", mixin) as (process, address):
        # Once somebody is served, the thread that watches for stalls is there; not before a fork.
        threads = 1 if mixin == "forking" else 2
        assert answer_of(address, b"bye\n") == b"1 bye\n"
        eventually(lambda: process.num_threads() == threads and not process.children())
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


def test_exporter_tells_of_its_server(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "exported.py"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert "greensock_parked{" in done.stdout
    assert "greensock_accepted_total{" in done.stdout
