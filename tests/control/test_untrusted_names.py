"""What clients and servers call themselves reaches no terminal, log or page unescaped."""

import contextlib
import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest

import greensock
from greensock import KeepAliveRequestHandler
from greensock.control import place, table
from greensock.control.answering import control_socket, describe
from greensock.control.rows import Row, rows_of
from greensock.printable import address_in_words, printable
from greensock.testing import running

from ..clients import ask, eventually
from ..server_kinds import under_every_mixin
from .test_top import top

# A title of the terminal, a line of its own, the other direction, a byte that is no UTF-8.
EVIL = "\x1b]0;owned\x07\r\n\u202eevil\x9b2J\u2028"
UNSEEN = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u202e\ud800-\udfff]")


def is_harmless(text: str) -> bool:
    return not UNSEEN.search(text)


def test_what_is_no_visible_character_is_written_as_its_number() -> None:
    assert printable("plain text, ümlaut and 漢字") == "plain text, ümlaut and 漢字"
    assert printable(EVIL) == r"\x1b]0;owned\x07\r\n\u202eevil\x9b2J\u2028"
    assert printable("a\nb\tc\x1b", keep="\n\t") == "a\nb\tc\\x1b"
    assert printable(os.fsdecode(b"\xff")) == r"\udcff"


@pytest.mark.parametrize(
    ("address", "words"),
    [
        (("127.0.0.1", 80), "127.0.0.1:80"),
        (["::1", 80, 0, 0], "[::1]:80"),
        ("/run/a\x1bb", r"/run/a\x1bb"),
        (b"\0abstract\x1b", r"@abstract\x1b"),
        (b"\0\xff", r"@\udcff"),
        ("", ""),
    ],
)
def test_addresses(address: Any, words: str) -> None:
    assert address_in_words(address) == words


class Named(KeepAliveRequestHandler):
    """Fails with what its client has said."""

    request_terminator = b"\n"

    def handle_one_request(self) -> None:
        line = self.rfile.readline()
        if line.startswith(b"fail"):
            raise ValueError(line.decode("latin-1"))
        self.wfile.write(line)


def server_class(mixin: str) -> Any:
    prefix = "" if mixin == "none" else mixin.capitalize()
    return getattr(greensock, f"{prefix}UnixStreamServer")


@contextlib.contextmanager
def evil_client(server: Any, name: Any) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(30)
        client.bind(name)
        client.connect(server.server_address)
        yield client
    if isinstance(name, str):
        os.unlink(name)


@under_every_mixin
@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_client_of_a_unix_socket(
    tmp_path: Path, capfd: Any, caplog: Any, mixin: str, kind: str
) -> None:
    name: Any = str(tmp_path / EVIL) if kind == "path" else b"\0" + os.fsencode(tmp_path) + b"\x1b["
    handler = type(f"Evil{EVIL}", (Named,), {})
    server = server_class(mixin)(str(tmp_path / f"listener{EVIL}"), handler)
    caplog.set_level(logging.DEBUG, "greensock")
    with running(server):
        with evil_client(server, name) as client:
            assert ask(client, b"x\n") == b"x\n"
            eventually(lambda: server.stats().parked == 1)
            rows = list(rows_of(server))
            shown = "\n".join([table.headline(describe(server)), *table.lines(rows)])
            client.sendall(b"fail \x1b[2J\r\x9b\n")
            assert client.recv(10) == b""
        # A child of the first may have its socket still.
        with evil_client(server, name + (b"2" if kind == "abstract" else "2")) as client:
            assert ask(client, b"x\n") == b"x\n"
        eventually(lambda: server.stats().open == 0)
    os.unlink(server.server_address)
    said = capfd.readouterr()
    assert "owned" in shown
    assert len(rows) == 1
    for text in (shown, said.out, said.err, *(record.getMessage() for record in caplog.records)):
        assert is_harmless(text)
    assert "fail \\x1b[2J" in said.err


class Answering(threading.Thread):
    """Somebody else's control socket, with an answer of their own."""

    def __init__(self, path: Path, *answers: bytes) -> None:
        super().__init__()
        self._path = path
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._answers = answers

    def run(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            with sock, contextlib.suppress(OSError):
                sock.recv(100)
                sock.sendall(b"".join(self._answers))

    def __enter__(self) -> "Answering":
        self.start()
        return self

    def __exit__(self, *args: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._path.unlink()
        self.join()


ABOUT = {
    "pid": 1,
    "class": f"Server{EVIL}",
    "handler": EVIL,
    "address": f"/x{EVIL}",
    "stats": {"open": 1, "parked": 1, "busy": 0, "uptime": 1.0, f"more{EVIL}": 3},
}
ROW = [f"peer{EVIL}", "parked", 1.0, 1, 1, f"where{EVIL}"]


def lines(*answers: Any) -> bytes:
    return b"".join(json.dumps(answer).encode() + b"\n" for answer in answers)


def test_top_shows_another_server_harmlessly(runtime_folder: Path) -> None:
    runtime_folder.mkdir(mode=0o700)
    with Answering(runtime_folder / "77.sock", lines(ABOUT, [ROW], [])):
        for option in ("--once", "--json"):
            done = top("77", option)
            assert done.returncode == 0, done.stderr
            assert "owned" in done.stdout
            assert is_harmless(done.stdout)


@pytest.mark.parametrize(
    "answers",
    [
        b"",
        b"nonsense\n",
        b"[]\n",
        lines({}),
        lines({**ABOUT, "stats": None}, []),
        lines({**ABOUT, "address": None}, []),
        lines({**ABOUT, "class": 5}, []),
        lines({**ABOUT, "stats": {"open": "1", "parked": 0}}, []),
        lines(ABOUT, [ROW[:3]], []),
        lines(ABOUT, [[*ROW[:2], "long", 1, 1, ""]], []),
        lines(ABOUT, [["peer", "asleep", 1, 1, 1, ""]], []),
        lines(ABOUT, [["peer", "busy", -1, 1, 1, ""]], []),
        lines(ABOUT).replace(b"1.0", b"NaN") + lines([]),
        lines(ABOUT) + b"[" * 100_000,
    ],
    ids=lambda answers: answers[:20].decode(),
)
def test_top_of_nonsense_is_one_line_and_status_2(runtime_folder: Path, answers: bytes) -> None:
    runtime_folder.mkdir(mode=0o700)
    with Answering(runtime_folder / "77.sock", answers):
        done = top("77", "--once")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert is_harmless(done.stderr)


def test_abstract_server_is_shown(runtime_folder: Path, tmp_path: Path) -> None:
    server = greensock.GreenletUnixStreamServer(b"\0" + os.fsencode(tmp_path) + b"\x1b", Named)

    def serve() -> None:
        with control_socket(server):
            server.serve_forever()
        gevent.get_hub().destroy(destroy_loop=True)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        eventually(lambda: (runtime_folder / f"{os.getpid()}.sock").exists())
        done = top(str(os.getpid()), "--once")
        assert done.returncode == 0, done.stderr
        assert rf"on @{tmp_path}\x1b, process" in done.stdout
        assert top(rf"unix:@{tmp_path}\x1b").returncode == 0
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_table_of_a_signal(served: Callable[..., Any], tmp_path: Path) -> None:
    path, name = tmp_path / "socket", tmp_path / EVIL
    with (
        served("greensock.examples:Echo", "--bind", f"unix:{path}") as server,
        socket.socket(socket.AF_UNIX) as client,
    ):
        client.settimeout(30)
        client.bind(str(name))
        client.connect(str(path))
        assert ask(client, b"x\n") == b"x\n"
        os.kill(server.pid, signal.SIGUSR1)
        eventually(lambda: "owned" in server.errors())
        assert is_harmless(server.errors())
    name.unlink()
    path.unlink()


def test_mistake_on_the_command_line() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "greensock", "serve", f"x:y{EVIL}"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert is_harmless(done.stderr)
    assert len(done.stderr.splitlines()) == 1


def test_rows_of_any_width() -> None:
    row = Row(EVIL, "parked", None, None, None, EVIL)
    assert all(is_harmless(line) for line in table.lines([row], 40))


@pytest.mark.parametrize("owner", ["own", "other"])
def test_root_finds_the_servers_of_all_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: str
) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may ask them")
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setattr(place, "_TEMPORARY", tmp_path)
    monkeypatch.setattr(place, "_RUNTIME_FOLDERS", tmp_path / "user")
    user = 0 if owner == "own" else 65534
    expected = []
    for folder in (tmp_path / f"greensock-{user}", tmp_path / "user" / str(user) / "greensock"):
        folder.mkdir(mode=0o700, parents=True)
        os.chown(folder, user, user)
        (folder / "5.sock").touch()
        expected.append(folder / "5.sock")
    # Made by one user in the name of another, or open to others, it is nobody's.
    for folder, mode in ((tmp_path / "greensock-4", 0o700), (tmp_path / "greensock-65533", 0o755)):
        folder.mkdir(mode=mode)
        os.chown(folder, 65533, 65533)
        (folder / "5.sock").touch()
    (tmp_path / "greensock-x").mkdir()
    assert place.find_sockets("5") == expected
    assert place.find_sockets("6") == []
