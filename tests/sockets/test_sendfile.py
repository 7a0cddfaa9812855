"""`request.sendfile()` sends what the standard library's would, of any kind of file."""

import io
import socket
import tempfile
from collections.abc import Callable
from typing import Any

from greensock import BaseRequestHandler
from greensock.testing import running

from ..clients import connect, receive_all
from ..server_kinds import make_server, patched_or_not, under_every_mixin

pytest_plugins = ["tests.alone"]

CONTENT = bytes(range(256)) * 40


def on_disk() -> Any:
    file = tempfile.TemporaryFile()  # noqa: SIM115 - the case closes it
    file.write(CONTENT)
    file.flush()
    return file


def empty() -> Any:
    return tempfile.TemporaryFile()


def text() -> Any:
    file = tempfile.TemporaryFile("w+")  # noqa: SIM115
    file.write("text")
    file.flush()
    return file


FILES: dict[str, Callable[[], Any]] = {
    "file": on_disk,
    "memory": lambda: io.BytesIO(CONTENT),
    "empty": empty,
    "text": text,
}

CASES: list[tuple[str, int, list[Any]]] = [
    (kind, position, arguments)
    for kind in FILES
    for position in (0, 7)
    for arguments in ([], [5], [0, 3], [5, 10], [0, 0], [20_000], [3, 100_000], [0, "x"])
]


def outcome(request: Any, kind: str, position: int, arguments: list[Any]) -> list[Any]:
    """What it returns or raises, and where the file stands then."""
    with FILES[kind]() as file:
        file.seek(position)
        try:
            result: Any = request.sendfile(file, *arguments)
        except (ValueError, TypeError) as error:
            result = type(error).__name__
        return [result, file.tell()]


def sent_by(call: Callable[[Any], Any]) -> bytes:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        with ours:
            call(ours)
        return b"".join(iter(lambda: theirs.recv(100_000), b""))


def expected(case: tuple[str, int, list[Any]]) -> tuple[list[Any], str]:
    found: list[Any] = []
    sent = sent_by(lambda request: found.append(outcome(request, *case)))
    return found[0], sent.hex()


def send(mixin: str, cases: list[Any]) -> None:
    class Sends(BaseRequestHandler):
        def handle(self) -> None:
            number = int(self.request.recv(10))
            told = outcome(self.request, *cases[number][0])
            self.request.sendall(b"|" + repr(told).encode())

    with running(make_server(mixin, Sends)) as address:
        for number, (case, (told, sent)) in enumerate(cases):
            with connect(address) as client:
                client.sendall(b"%d" % number)
                got = receive_all(client)
            assert got == bytes.fromhex(sent) + b"|" + repr(told).encode(), case


@patched_or_not
@under_every_mixin
def test_file_is_sent_as_by_the_standard_library(alone, mode: str, mixin: str) -> None:
    alone(mode, send, mixin, [(case, expected(case)) for case in CASES])
