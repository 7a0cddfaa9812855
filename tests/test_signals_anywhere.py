"""A signal that comes between any two lines of greensock's own code is the program's all the same.

Python calls a signal's handler there. Nobody can list such places; so a server whose clients come,
ask and go is traced, and the signal raised at every STRIDE-th line that it runs.
"""

import contextlib
import os
import signal
import socket
import sys
import warnings
from types import FrameType
from typing import Any, NoReturn

import pytest
from gevent import monkey

from .separate_process import LIBUV, PATCHED, STUCK, UNPATCHED
from .server_kinds import FORKING, GREENLET, NONE, THREADING, Echo, make_server

pytest_plugins = ["tests.alone"]

#: A prime: what serves one client after the other runs the same lines again and again, and so the
#: next one's are others.
STRIDE = 113
#: More lines than greensock runs for those clients, in any mode.
MOST = 4000

ENDED, WENT_ON, NOT_HIT, STUCK_IN_IT = 0, 3, 4, 5


def come_and_go(address: Any) -> NoReturn:
    """Be clients, one after the other; the last one stays until the end, and says nothing more."""
    try:
        for _ in range(3):
            with socket.create_connection(address, STUCK) as client:
                ask_twice(client)
        client = socket.create_connection(address, STUCK)
        ask_twice(client)
        os.kill(os.getppid(), signal.SIGUSR1)
        client.recv(1)
    except OSError:
        pass
    finally:
        os._exit(0)


def ask_twice(client: socket.socket) -> None:
    # Reset by a child that ended with what had just come: the server goes on, and so do we.
    with contextlib.suppress(ConnectionError):
        for _ in range(2):
            client.sendall(b"x\n")
            client.recv(2)


class Tracer:
    """Raises SIGTERM at the `at`-th line of greensock's that runs."""

    def __init__(self, at: int, told: int) -> None:
        self.left = at
        self.told = told

    def __call__(self, frame: FrameType, event: str, argument: Any) -> Any:
        # serve_forever begins and ends outside of what answers for a signal.
        file, name = frame.f_code.co_filename, frame.f_code.co_name
        return self.trace if "/greensock/" in file and name != "serve_forever" else None

    def trace(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event == "line":
            self.left -= 1
            if self.left == 0:
                os.write(self.told, f"{frame.f_code.co_filename}:{frame.f_lineno}".encode())
                sys.settrace(None)
                signal.raise_signal(signal.SIGTERM)
        return self.trace


def serve(mixin: str, action: str, tracer: Tracer) -> int:
    """Serve, have the signal come at one place; return what that led to."""
    server = make_server(mixin, Echo, linger=0)

    def act(number: int, frame: Any) -> None:
        if action == "raise":
            sys.exit(17)
        elif action == "drain":
            report = server.drain(timeout=20)
            assert report is None or not report.cut, report
        else:
            server.shutdown()

    signal.signal(signal.SIGTERM, act)
    # A connection that it takes out of the hands of accept() is closed by nobody.
    warnings.simplefilter("ignore", ResourceWarning)
    pid = monkey.get_original("os", "fork")()
    if pid == 0:
        come_and_go(server.server_address)
    signal.signal(
        signal.SIGUSR1, lambda number, frame: os._exit(NOT_HIT) if tracer.left > 0 else None
    )
    signal.signal(signal.SIGALRM, lambda number, frame: os._exit(STUCK_IN_IT))
    signal.alarm(int(STUCK))
    status = WENT_ON
    sys.settrace(tracer)
    try:
        server.serve_forever()
        status = WENT_ON if action == "raise" else ENDED
    except SystemExit as error:
        status = ENDED if action == "raise" and error.code == 17 else WENT_ON
    finally:
        sys.settrace(None)
        os.kill(pid, signal.SIGKILL)
    return status


def be_hit_everywhere(mixin: str, action: str) -> None:
    fork, waitpid = (monkey.get_original("os", name) for name in ("fork", "waitpid"))
    hits = 0
    for at in range(1, MOST, STRIDE):
        reader, writer = os.pipe()
        pid = fork()
        if pid == 0:
            status = 1
            try:
                status = serve(mixin, action, Tracer(at, writer))
            finally:
                os._exit(status)
        # In a patched process gevent may put off os.close() until a hub turns.
        os.closerange(writer, writer + 1)
        status = os.waitstatus_to_exitcode(waitpid(pid, 0)[1])
        with open(reader, "rb", buffering=0) as told:
            where = told.read(1000)
        if status == NOT_HIT:
            # No so many lines are run: all have been hit.
            break
        assert status == ENDED, (status, at, where)
        hits += 1
    assert hits > 10


@pytest.mark.parametrize(
    ("mode", "mixin"),
    [
        (UNPATCHED, NONE),
        (UNPATCHED, GREENLET),
        (UNPATCHED, THREADING),
        (UNPATCHED, FORKING),
        (PATCHED, GREENLET),
        (LIBUV, GREENLET),
    ],
)
@pytest.mark.parametrize("action", ["raise", "drain", "shutdown"])
def test_signal_is_heeded_wherever_it_comes(alone, mode: str, mixin: str, action: str) -> None:
    alone(mode, be_hit_everywhere, mixin, action)


be_hit_everywhere.stuck_after = 120  # type: ignore[attr-defined]
