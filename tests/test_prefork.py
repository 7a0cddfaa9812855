"""Several processes serve one port: with SO_REUSEPORT, a shared listener, or one handed to them.

One of them is killed amid a stream of clients: each client is answered or sees the end of its
connection, and once the process is gone, the others answer everybody.
"""

import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from gevent import monkey

from .clients import Client, ask, clients, connect
from .separate_process import LIBUV, PATCHED, STUCK, UNPATCHED
from .server_kinds import ANY_PORT, MIXINS, NONE, Echo, server_class

pytest_plugins = ["tests.alone"]

in_each_process = pytest.mark.parametrize("mode", [UNPATCHED, PATCHED, LIBUV])
under_every_mixin = pytest.mark.parametrize("mixin", MIXINS)

WORKERS = 3

# The calls of the system: gevent's would look after the workers with a hub, which must not be
# there before they are forked.
fork: Callable[[], int] = monkey.get_original("os", "fork")
waitpid: Callable[[int, int], tuple[int, int]] = monkey.get_original("os", "waitpid")


class WhoServes(Echo):
    """Answers with the process that serves its client; a child is one of its parent's."""

    def handle_one_request(self) -> None:
        if (line := self.rfile.readline()) == b"hold\n":
            self.wfile.write(b"held\n")
            line = self.rfile.readline()
        if line:
            self.wfile.write(b"%d\n" % self.server.pid)


def serve(mixin: str, listener: socket.socket) -> None:
    """What a worker does until it is killed."""
    base = server_class(mixin)
    server = base(listener.getsockname(), WhoServes, bind_and_activate=False)
    server.socket.close()
    server.socket = listener
    server.pid = os.getpid()
    server.serve_forever()


class OwnListeners:
    """Each worker listens by itself, on the port that the parent holds without listening."""

    def __init__(self) -> None:
        self._holder = socket.socket()
        self._holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._holder.bind(ANY_PORT)
        self.address = self._holder.getsockname()

    def serve(self, mixin: str, ready: int) -> None:
        self._holder.close()
        attributes = {"allow_reuse_port": True}
        kind = type("Worker", (server_class(mixin),), attributes)
        server: Any = kind(self.address, WhoServes)
        server.pid = os.getpid()
        os.write(ready, b".")
        server.serve_forever()

    def close(self) -> None:
        self._holder.close()


class SharedListener:
    """The parent listens, and its workers accept from the same socket."""

    def __init__(self) -> None:
        self._listener = socket.create_server(ANY_PORT, backlog=128)
        self.address = self._listener.getsockname()

    def serve(self, mixin: str, ready: int) -> None:
        os.write(ready, b".")
        serve(mixin, self._listener)

    def close(self) -> None:
        self._listener.close()


class HandedListener(SharedListener):
    """The workers are programs of their own, which find the listener as descriptor 3."""

    PROGRAM = "import sys; from tests.test_prefork import serve_descriptor as f; f(*sys.argv[1:])"

    def serve(self, mixin: str, ready: int) -> None:
        os.dup2(self._listener.fileno(), 3, inheritable=True)
        os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
        patch = "from gevent import monkey; monkey.patch_all(); "
        program = self.PROGRAM
        if monkey.is_module_patched("socket"):
            program = patch + program
        os.chdir(Path(__file__).parents[1])
        os.set_inheritable(ready, True)
        os.execv(sys.executable, [sys.executable, "-c", program, mixin, str(ready)])


def serve_descriptor(mixin: str, ready: str) -> None:
    assert os.environ["LISTEN_FDS"] == "1"
    assert os.environ["LISTEN_PID"] == str(os.getpid())
    os.write(int(ready), b".")
    serve(mixin, socket.socket(fileno=3))


WAYS = {each.__name__: each for each in (OwnListeners, SharedListener, HandedListener)}


@contextlib.contextmanager
def workers(way: Any, mixin: str) -> Iterator[list[int]]:
    """The processes that serve, once all of them listen; ended on leaving."""
    told, ready = os.pipe()
    pids: list[int] = []
    try:
        for _ in range(WORKERS):
            pid = fork()
            if pid == 0:
                try:
                    way.serve(mixin, ready)
                finally:
                    os._exit(1)
            pids.append(pid)
        for _ in range(WORKERS):
            assert os.read(told, 1) == b"."
        yield pids
    finally:
        for pid in pids:
            kill(pid)
        os.close(told)
        os.close(ready)
        way.close()


def kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, ChildProcessError):
        os.kill(pid, signal.SIGKILL)
        waitpid(pid, 0)


def who_answers(client: Client) -> int | None:
    """The worker that answers, or None if the connection has ended."""
    try:
        answer = ask(client, b"?\n")
    except ConnectionError:
        return None
    return int(answer) if answer.endswith(b"\n") else None


def ask_anew(address: Any) -> int | None:
    try:
        with connect(address) as client:
            return who_answers(client)
    except ConnectionError:
        return None


def kill_one_of_three(way: str, mixin: str) -> None:
    served = WAYS[way]()
    address = served.address
    with workers(served, mixin) as pids, contextlib.ExitStack() as stack:
        victim = pids[0]
        # All work; and some clients stay, of the victim's too.
        stayed: dict[Client, int | None] = {}
        while not set(pids) <= set(stayed.values()):
            client = stack.enter_context(connect(address))
            stayed[client] = who_answers(client)
            assert stayed[client] in pids
        if mixin != NONE:
            # Its child, if it has one, outlives it.
            held = next(client for client, pid in stayed.items() if pid == victim)
            assert ask(held, b"hold\n") == b"held\n"
        waiting = stack.enter_context(clients(address, 30))
        os.kill(victim, signal.SIGKILL)
        # Some come before it is gone, some afterwards: none hangs.
        amid = [ask_anew(address) for _ in range(30)]
        waitpid(victim, 0)
        assert set(amid) <= {*pids, None}
        assert {who_answers(client) for client in waiting} <= {*pids, None}
        for client, pid in stayed.items():
            if pid != victim:
                assert who_answers(client) == pid
        rest = set(pids) - {victim}
        after = [ask_anew(address) for _ in range(30)]
        assert set(after) <= rest
        while not rest <= set(after):
            after.append(ask_anew(address))


# Three interpreters may have to be started for it.
kill_one_of_three.stuck_after = 4 * STUCK


@in_each_process
@under_every_mixin
@pytest.mark.parametrize("way", ["OwnListeners", "SharedListener"])
def test_no_connection_hangs_when_one_of_three_workers_is_killed(
    alone, mode: str, mixin: str, way: str
) -> None:
    alone(mode, kill_one_of_three, way, mixin)


@pytest.mark.parametrize("mode", [UNPATCHED, PATCHED])
@under_every_mixin
def test_none_hangs_when_one_who_was_handed_the_listener_is_killed(
    alone, mode: str, mixin: str
) -> None:
    alone(mode, kill_one_of_three, "HandedListener", mixin)
