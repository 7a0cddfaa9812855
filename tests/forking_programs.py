"""Programs that fork, for tests of what becomes of their servers."""

import contextlib
import os
import select
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from greensock.testing import running

from .clients import ask, connect
from .server_kinds import (
    FORKING,
    Echo,
    make_server,
)


class WhoServes(Echo):
    """Answers with the process that serves: a child of ForkingMixIn's with its parent's."""

    def handle_one_request(self) -> None:
        if self.rfile.readline():
            self.wfile.write(b"%d\n" % served_by(self.server))


def served_by(server: Any) -> int:
    return os.getppid() if server.forks else os.getpid()


def new_server(mixin: str, handler: Any = WhoServes, **attributes: Any) -> Any:
    attributes = {"linger": 0.001, "forks": mixin == FORKING, **attributes}
    return make_server(mixin, handler, **attributes)


def fork() -> int:
    """As a program forks."""
    with warnings.catch_warnings():
        # Of threads, from 3.12 on; they are what this is about.
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


@contextlib.contextmanager
def child(run: Callable[[], Any]) -> Iterator[int]:
    """A process of the program's own that does `run`, and is to end well."""
    pid = fork()
    if pid == 0:
        status = 1
        try:
            run()
            status = 0
        except BaseException:  # noqa: BLE001
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)
    try:
        yield pid
    except BaseException:
        os.kill(pid, signal.SIGKILL)
        raise
    finally:
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status == 0, status


def serve_until_told(server: Any, told: int) -> None:
    """Serve, and shut down from a thread once there is something in the pipe `told`."""

    def stop() -> None:
        select.select([told], [], [])
        server.shutdown()

    thread = threading.Thread(target=stop)
    thread.start()
    server.serve_forever()
    thread.join()
    server.shutdown()


@contextlib.contextmanager
def child_that_serves(server: Any) -> Iterator[int]:
    told, tell = os.pipe()

    def run() -> None:
        serve_until_told(server, told)
        with running(server) as address:
            # Another run: this process may have connected to any of those who serve.
            connect(address).close()

    with child(run) as pid:
        try:
            yield pid
        finally:
            os.write(tell, b".")
            os.close(tell)
            os.close(told)


def ask_until_all_answered(address: Any, pids: set[int]) -> None:
    answered: set[int] = set()
    while answered != pids:
        with connect(address) as client:
            answered.add(int(ask(client, b"?\n")))
            assert answered <= pids
