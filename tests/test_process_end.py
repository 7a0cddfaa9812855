"""The end of a process in which native daemon threads serve: none crashes, none waits for long.

Up to Python 3.13 the interpreter ends such threads wherever they are, and greenlets do not bear it.
"""

import fcntl
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator

import pytest

from .separate_process import REPOSITORY, STUCK
from .server_kinds import under_every_mixin

# Of those that crash, one in four to one in thirty does so at a time; each round has ten processes.
ROUNDS = 1


def run(*command: str, **environment: str) -> str:
    """What a program says, which ends well."""
    done = subprocess.run(
        [sys.executable, *command],
        cwd=REPOSITORY,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=8 * STUCK,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def one_at_a_time(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Each of these keeps a dozen threads busy: several would only measure the machine."""
    with open(tmp_path_factory.getbasetemp().parent / "ends.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.mark.parametrize(
    ("loop", "patch"), [("libev-cext", ()), ("libev-cext", ("patched",)), ("libuv", ())]
)
@pytest.mark.usefixtures("one_at_a_time")
@under_every_mixin
def test_no_process_crashes_at_its_end(mixin: str, loop: str, patch: tuple[str, ...]) -> None:
    said = run("-m", "tests.ending_programs", mixin, str(ROUNDS), *patch, GEVENT_LOOP=loop)
    # What gevent's destroy() of a libuv loop prints of that loop's own handles, once in a thousand.
    harmless = "WARNING: gevent: running prepare callbacks from a destroyed handle"
    assert [line for line in said.splitlines() if not line.startswith(harmless)] == []


PROGRAM = """
import atexit, socket, threading

def ask():
    with socket.create_connection(server.server_address) as client:
        client.sendall(b"still there\\n")
        print(client.makefile().readline(), end="")

def stop():
    {stop}

atexit.register(lambda: print("the last"))
atexit.register(stop)
atexit.register(ask)
import {module}

class Echo({module}.StreamRequestHandler):
    def handle(self):
        self.wfile.write(self.rfile.readline())

def serve():
    server.serve_forever()
    print("served")

server = {module}.{server}(("127.0.0.1", 0), Echo)
thread = threading.Thread(target=serve, daemon=True)
thread.start()
ask()
"""


def program(server: str, stop: str, module: str = "greensock") -> str:
    return textwrap.dedent(PROGRAM).format(server=server, stop=stop, module=module)


@under_every_mixin
def test_exit_functions_find_the_server_serving(mixin: str) -> None:
    """Also those that were there before greensock was: as a rule these are called last."""
    prefix = "" if mixin == "none" else mixin.capitalize()
    said = run("-c", program(f"{prefix}TCPServer", "server.shutdown(); thread.join()"))
    assert said == "still there\nstill there\nserved\nthe last\n"


@under_every_mixin
def test_what_follows_serve_forever_is_not_reached_by_the_end(mixin: str) -> None:
    """As with a thread that ends with its process."""
    prefix = "" if mixin == "none" else mixin.capitalize()
    said = run("-c", program(f"{prefix}TCPServer", "pass"))
    assert said == "still there\nstill there\nthe last\n"


@pytest.mark.parametrize("options", [(), ("--no-monkey", "--mixin", "threading")])
def test_programs_of_greensock_run_end_so_too(options: tuple[str, ...]) -> None:
    source = program("ThreadingTCPServer", "server.shutdown(); thread.join()", "socketserver")
    said = run("-m", "greensock", "run", *options, "-c", source)
    assert said == "still there\nstill there\nserved\nthe last\n"
