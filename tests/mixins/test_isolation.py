"""ForkingMixIn: nothing of a handler runs in the parent, and nothing that it does stays there."""

import contextlib
import contextvars
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, ClassVar

import pytest

import greensock
from greensock import TCPServer, UDPServer
from greensock.testing import running

from ..clients import (
    ask,
    connect,
    descriptors,
    eventually,
    exchange,
    receive_all,
    wait_until_parked,
    wait_until_silent,
)
from ..separate_process import HERE, PATCHED
from ..server_kinds import ANY_PORT, FORKING, ClassicEcho, Echo, make_server

pytest_plugins = ["tests.alone"]

everywhere = pytest.mark.parametrize("mode", [HERE, PATCHED])


class Notes:
    """What handlers have noted, and in which process; children write into a pipe."""

    read_end = write_end = -1

    @classmethod
    @contextlib.contextmanager
    def taken(cls) -> Iterator[None]:
        cls.read_end, cls.write_end = os.pipe()
        os.set_blocking(cls.read_end, False)
        try:
            yield
        finally:
            os.close(cls.read_end)
            os.close(cls.write_end)

    @classmethod
    def note(cls, what: str) -> None:
        os.write(cls.write_end, f"{what} {os.getpid()}\n".encode())

    @classmethod
    def read(cls) -> list[tuple[str, int]]:
        try:
            lines = os.read(cls.read_end, 65536).decode().splitlines()
        except BlockingIOError:
            return []
        return [(what, int(pid)) for what, pid in map(str.split, lines)]


class Noting(Echo):
    """Of its own: what is named in `own`."""

    own: ClassVar[set[str]] = set()

    def handle_one_request(self) -> None:
        Notes.note("turn")
        super().handle_one_request()


class OwnInit(Noting):
    def __init__(self, *args: Any) -> None:
        Notes.note("init")
        super().__init__(*args)


class OwnNew(Noting):
    def __new__(cls, *args: Any) -> Any:
        Notes.note("new")
        return super().__new__(cls)


class OwnSetup(Noting):
    def setup(self) -> None:
        Notes.note("setup")
        super().setup()


class OwnFinish(Noting):
    def finish(self) -> None:
        Notes.note("finish")
        super().finish()


class OwnAll(OwnInit, OwnSetup, OwnFinish):
    pass


class MadeAnew(OwnAll):
    parkable = True


def make_by_metaclass(cls: Any, *args: Any) -> Any:
    Notes.note("metaclass")
    return type.__call__(cls, *args)


class OwnMetaclass(Noting, metaclass=type("Meta", (type,), {"__call__": make_by_metaclass})):
    pass


#: By name, with what each notes for a client who asks twice, and is parked in between if it can be.
NOTED = {
    Noting: ["turn", "turn"],
    OwnInit: ["init", "turn", "turn"],
    OwnNew: ["new", "turn", "turn"],
    OwnMetaclass: ["metaclass", "turn", "turn"],
    OwnSetup: ["setup", "turn", "turn"],
    OwnFinish: ["turn", "turn", "finish"],
    OwnAll: ["init", "setup", "turn", "turn", "finish"],
    # In each child, and once more for its end.
    MadeAnew: ["init", "setup"] + 2 * ["init", "setup", "turn"] + ["init", "setup", "finish"],
}
HANDLERS = {each.__name__: each for each in NOTED}


def ask_twice(server: Any, address: Any, is_parked: bool) -> None:
    with connect(address) as client:
        if is_parked:
            # One that is made unasked is made anew for the first request.
            wait_until_parked(server, 1)
        for line in (b"1\n", b"2\n"):
            assert ask(client, line) == line
            if is_parked:
                wait_until_parked(server, 1)
    eventually(lambda: server.stats().open == 0)


def note_processes(name: str) -> None:
    handler = HANDLERS[name]
    server = make_server(FORKING, handler, linger=0)
    is_parked = handler in (Noting, OwnFinish, MadeAnew)
    with Notes.taken(), running(server) as address:
        ask_twice(server, address, is_parked)
        noted = Notes.read()
        assert [what for what, _ in noted] == NOTED[handler]
        pids = [pid for _, pid in noted]
        assert os.getpid() not in pids
        if not is_parked:
            assert len(set(pids)) == 1


@everywhere
@pytest.mark.parametrize("name", HANDLERS)
def test_code_of_a_handler_runs_in_children_only(alone, mode: str, name: str) -> None:
    alone(mode, note_processes, name)


@pytest.mark.parametrize("name", HANDLERS)
@pytest.mark.parametrize("how", ["timeout", "close", "close, stopped", "drain", "drain, told"])
def test_a_client_that_the_server_ends_is_finished_in_a_child(name: str, how: str) -> None:
    handler = type(HANDLERS[name])(name, (HANDLERS[name],), {"timeout": 0.3})
    if how != "timeout":
        handler.timeout = None
    said: list[tuple[str, int]] = []

    def on_drain(server: Any, handler: Any) -> None:
        Notes.note("goodbye")
        handler.wfile.write(b"goodbye\n")

    settings = {"on_drain": on_drain} if how == "drain, told" else {}
    server = make_server(FORKING, handler, linger=0, **settings)
    with Notes.taken():
        with running(server) as address, connect(address) as client:
            assert ask(client, b"x\n") == b"x\n"
            if HANDLERS[name] in (Noting, OwnFinish, MadeAnew):
                wait_until_parked(server, 1)
            else:
                wait_until_silent(server, 1)
            if how == "close":
                server.server_close()
            elif how == "close, stopped":
                server.shutdown()
                server.server_close()
            elif how.startswith("drain"):
                server.drain(20)
            assert receive_all(client) == (b"goodbye\n" if how == "drain, told" else b"")
            eventually(lambda: server.stats().open == 0)
        said += Notes.read()
    handlers_own = [(what, pid) for what, pid in said if what != "goodbye"]
    assert os.getpid() not in [pid for _, pid in handlers_own]
    assert [what for what, _ in handlers_own].count("finish") == (
        1 if "Finish" in name or name in ("OwnAll", "MadeAnew") else 0
    )
    assert [what for what, _ in said].count("goodbye") == (how == "drain, told")


class Greeted(BaseHTTPRequestHandler):
    """Whose setup() waits for its client."""

    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        self.greeting = self.rfile.readline().strip()

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.greeting)))
        self.end_headers()
        self.wfile.write(self.greeting)

    def log_message(self, format: str, *args: Any) -> None:
        pass


class GreetedLines(Echo):
    def setup(self) -> None:
        super().setup()
        self.greeting = self.rfile.readline()

    def handle_one_request(self) -> None:
        self.rfile.readline()
        self.wfile.write(self.greeting)


def keep_silent_in_setup(kind: str) -> None:
    handler, question, answer = {
        "http": (Greeted, b"hello\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", b"hello"),
        "lines": (GreetedLines, b"hello\n?\n", b"hello\n"),
    }[kind]
    server = make_server(FORKING, handler, linger=0)
    with running(server) as address, connect(address), connect(address) as client:
        exchange(client, question, answer)
        exchange(client, question.partition(b"\n")[2], answer)


@everywhere
@pytest.mark.parametrize("kind", ["http", "lines"])
def test_client_who_keeps_setup_waiting_keeps_nobody_else(alone, mode: str, kind: str) -> None:
    alone(mode, keep_silent_in_setup, kind)


variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")
local = threading.local()
changed: list[str] = []


class Changing(Echo):
    """Does things to its process when it is told to, and answers with what it is like."""

    def handle_one_request(self) -> None:
        self.change(self.rfile.readline().decode().strip())
        self.wfile.write(self.state().encode() + b"\n")

    def change(self, name: str) -> None:
        if name:
            os.chdir("/proc")
            os.umask(0o123)
            os.environ["CHANGED"] = name
            variable.set(name)
            local.value = name
            changed.append(name)

    @staticmethod
    def state() -> str:
        mask = os.umask(0)
        os.umask(mask)
        return " ".join((
            Path.cwd().name, oct(mask), os.environ.get("CHANGED", "unset"), variable.get(),
            getattr(local, "value", "unset"), str(len(changed)),
        ))  # fmt: skip


class ChangingInSetup(Changing):
    def setup(self) -> None:
        super().setup()
        self.change(self.rfile.readline().decode().strip())


class ClassicChanging(ClassicEcho):
    change, state = Changing.change, staticmethod(Changing.state)

    def handle(self) -> None:
        for line in self.rfile:
            self.change(line.decode().strip())
            self.wfile.write(self.state().encode() + b"\n")


def change_the_process(name: str) -> None:
    before = Changing.state()
    theirs = f"proc {oct(0o123)} a a a 1".encode()
    server = make_server(FORKING, globals()[name], linger=0)
    with running(server) as address, connect(address) as client, connect(address) as other:
        if name == "ChangingInSetup":
            other.sendall(b"\n")
            assert ask(client, b"a\n\n") == theirs + b"\n"
        else:
            assert ask(client, b"a\n") == theirs + b"\n"
        assert ask(other, b"\n") == before.encode() + b"\n"
        assert Changing.state() == before
        # Made anew, it knows nothing of that; who keeps a child has all of it.
        kept = before.encode() if name == "Changing" else theirs
        if name == "Changing":
            wait_until_parked(server, 2)
        assert ask(client, b"\n") == kept + b"\n"


@everywhere
@pytest.mark.parametrize("name", ["Changing", "ChangingInSetup", "ClassicChanging"])
def test_what_a_handler_does_to_its_process_stays_there(alone, mode: str, name: str) -> None:
    alone(mode, change_the_process, name)


class Sockets(Echo):
    """Answers with the sockets that its process has open."""

    def handle_one_request(self) -> None:
        self.rfile.readline()
        self.wfile.write(" ".join(set(descriptors().values())).encode() + b"\n")


class KeptSockets(Sockets):
    def setup(self) -> None:
        super().setup()


class ClassicSockets(ClassicEcho):
    def handle(self) -> None:
        Sockets.handle_one_request(self)  # type: ignore[arg-type]


def look_for_neighbours(name: str) -> None:
    """Servers of every kind beside one whose child looks round: serving, stopped, never started."""
    with contextlib.ExitStack() as stack:
        neighbours = [
            stack.enter_context(kind(ANY_PORT, Echo))
            for kind in (
                TCPServer,
                greensock.GreenletTCPServer,
                greensock.ThreadingTCPServer,
                greensock.ForkingTCPServer,
            )
        ]
        for each in neighbours:
            address = stack.enter_context(running(each))
            assert ask(stack.enter_context(connect(address)), b"x\n") == b"x\n"
            wait_until_parked(each, 1)
        idle = stack.enter_context(TCPServer(ANY_PORT, Echo))
        datagrams = stack.enter_context(UDPServer(ANY_PORT, Echo))
        of_servers = {
            os.readlink(f"/proc/self/fd/{each.fileno()}") for each in (*neighbours, idle, datagrams)
        } | {
            os.readlink(f"/proc/self/fd/{request.fileno()}")
            for each in neighbours
            for request in each._greensock.run.lot.clients
        }
        assert len(of_servers) == 2 * len(neighbours) + 2
        address = stack.enter_context(running(make_server(FORKING, globals()[name], linger=0)))
        for _ in range(2):
            with connect(address) as client:
                assert not of_servers & set(ask(client, b"?\n").decode().split())
        # They are what they were.
        for each in neighbours:
            with connect(each.server_address) as client:
                assert ask(client, b"y\n") == b"y\n"


@everywhere
@pytest.mark.parametrize("name", ["Sockets", "KeptSockets", "ClassicSockets"])
def test_child_has_nothing_of_the_other_servers_of_its_process(alone, mode: str, name: str) -> None:
    alone(mode, look_for_neighbours, name)
