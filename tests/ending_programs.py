"""Processes that end while native daemon threads serve, or have just served.

    python -m tests.ending_programs MIXIN ROUNDS [patched]

forks one for each of `CASES` in each round, and one for each of `SLOW_CASES`; every one runs to the
end of this module, so that its interpreter is finalised. Prints those that end otherwise than with
status 0.
"""

import sys

if __name__ == "__main__" and sys.argv[3:] == ["patched"]:
    from gevent import monkey

    monkey.patch_all()

import contextlib
import os
import signal
import warnings
from collections.abc import Callable
from typing import Any

import gevent
from gevent import monkey

from tests.clients import connect, receive_line
from tests.server_kinds import NONE, ClassicEcho, Echo, make_server

sleep: Callable[[float], None] = monkey.get_original("time", "sleep")
fork: Callable[[], int] = monkey.get_original("os", "fork")
waitpid: Callable[[int, int], tuple[int, int]] = monkey.get_original("os", "waitpid")
start_thread: Any = monkey.get_original("_thread", "start_new_thread")

# From Python 3.12 on, of each fork here: its child goes on with nothing of the threads.
warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)

# Threads that serve, side by side.
SERVERS = 4


class LetsOthersRun:
    """As a file that is flushed when its module goes: it gives up the interpreter's lock."""

    def __del__(self, sleep: Callable[[float], None] = sleep) -> None:
        sleep(0.004)


class Computes(ClassicEcho):
    """Never gives way to others, and never ends."""

    def handle(self) -> None:
        self.wfile.write(self.rfile.readline())
        while True:
            sum(range(1000))


class Blocks(ClassicEcho):
    """Blocks its native thread, again and again."""

    def handle(self) -> None:
        self.wfile.write(self.rfile.readline())
        while True:
            sleep(0.001)


class UsesGevent(ClassicEcho):
    """Has a hub also where its thread would have none."""

    def handle(self) -> None:
        self.wfile.write(self.rfile.readline())
        while True:
            gevent.sleep(0.001)


class AsksToStop(Echo):
    """Has its server stop, and nobody waits for that."""

    def handle_one_request(self) -> None:
        if line := self.rfile.readline():
            self.wfile.write(line)
            self.server._BaseServer__shutdown_request = True


def serve_again(server: Any) -> None:
    while True:
        server.serve_forever()


def handle_requests(server: Any) -> None:
    while True:
        server.handle_request()


def flood(clients: list[Any]) -> None:
    """In a process of its own: ask without a pause until the servers are gone."""
    if fork():
        return
    try:
        signal.alarm(2)
        for client in clients:
            client.setblocking(False)
        while True:
            for client in clients:
                for call in (lambda: client.send(b"y\n" * 4), lambda: client.recv(4096)):  # noqa: B023
                    with contextlib.suppress(BlockingIOError):
                        call()
    except OSError:
        pass
    finally:
        os._exit(0)


#: What handles requests, what threads run, and what is done before the end.
CASES: dict[str, tuple[type, Callable[[Any], None] | None, str]] = {
    "idle": (Echo, None, ""),
    "classic": (ClassicEcho, None, "flood"),
    "load": (Echo, None, "flood"),
    "again": (Echo, serve_again, "flood"),
    "requests": (Echo, handle_requests, "leave flood"),
    "shut down": (Echo, None, "leave shutdown"),
    "closed": (Echo, None, "leave shutdown server_close"),
    "busy and shut down": (UsesGevent, None, "shutdown"),
    "stopping": (AsksToStop, serve_again, ""),
    "using gevent": (UsesGevent, None, ""),
}

# Each of these is waited for until the end has no more patience.
SLOW_CASES: dict[str, tuple[type, Callable[[Any], None] | None, str]] = {
    "computing": (Computes, None, ""),
    "blocking": (Blocks, None, ""),
}

kept: list[Any] = []


def be_trial(mixin: str, case: str) -> None:
    handler, run, ending = {**CASES, **SLOW_CASES}[case]
    kept.append(LetsOthersRun())
    attributes = {"daemon_threads": True, "block_on_close": False}
    servers = [make_server(mixin, handler, **attributes) for _ in range(SERVERS)]
    for server in servers:
        start_thread(run or type(server).serve_forever, (server,))
    clients = [connect(server.server_address) for server in servers]
    for client in clients:
        client.sendall(b"x\n")
    for client in clients:
        assert receive_line(client) == b"x\n"
    kept.extend((servers, clients))
    for each in ending.split():
        if each == "flood":
            flood(clients)
            sleep(0.01)
        elif each == "leave":
            for client in clients:
                client.close()
        else:
            for server in servers:
                getattr(server, each)()
    if ending == "leave flood":
        sleep(0.01)


def run_trials(mixin: str, rounds: int) -> bool:
    """Whether this is one of the processes that are to end."""
    cases = [*CASES] * rounds + [*SLOW_CASES]
    if mixin == NONE:
        # There nobody can wait for the end of a handler that has none.
        cases = [each for each in cases if each != "busy and shut down"]
    for number, case in enumerate(cases):
        pid = fork()
        if pid == 0:
            # With the children of its handlers.
            os.setpgid(0, 0)
            signal.alarm(30)
            if number % 2:
                sys.setswitchinterval(1e-5)
            be_trial(mixin, case)
            return True
        status = os.waitstatus_to_exitcode(waitpid(pid, 0)[1])
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
        if status:
            print(f"{case}: {status}", flush=True)
    return False


if __name__ == "__main__":
    run_trials(sys.argv[1], int(sys.argv[2]))
