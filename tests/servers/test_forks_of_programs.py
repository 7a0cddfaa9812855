"""The program forks: before its server serves, amid that, from where it serves and from elsewhere.

Each process serves where the program has it serve, as if there were no other; greensock's own
children, which `ForkingMixIn` makes, are none of these.
"""

import contextlib
import os
import select
import signal
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent import monkey

from greensock.testing import running

from ..clients import ask, clients, connect, eventually, receive_all, wait_until_parked
from ..forking_programs import (
    WhoServes,
    ask_until_all_answered,
    child,
    child_that_serves,
    fork,
    new_server,
    served_by,
)
from ..separate_process import LIBUV, PATCHED, UNPATCHED
from ..server_kinds import (
    ANY_PORT,
    GREENLET,
    NONE,
    THREADING,
    ClassicEcho,
    server_class,
    under_every_mixin,
)

pytest_plugins = ["tests.alone"]

in_each_process = pytest.mark.parametrize("mode", [UNPATCHED, PATCHED, LIBUV])


def serve_in_child_only(mixin: str) -> None:
    server = new_server(mixin)
    with child_that_serves(server) as pid:
        ask_until_all_answered(server.server_address, {pid})
        server.shutdown()
        ask_until_all_answered(server.server_address, {pid})
    server.server_close()


def serve_in_pool(mixin: str) -> None:
    server = new_server(mixin)
    address = server.server_address
    with child_that_serves(server) as first:
        with child_that_serves(server) as second:
            ask_until_all_answered(address, {first, second})
        # The other's listener, which is the same, still does not block.
        assert not os.get_blocking(server.fileno())
        ask_until_all_answered(address, {first})
        with running(server):
            ask_until_all_answered(address, {first, os.getpid()})


def serve_here_while_child_does(mixin: str) -> None:
    """The child is forked amid serving, by another thread or greenlet."""
    server = new_server(mixin)
    with running(server) as address, connect(address) as parked:
        assert int(ask(parked, b"?\n")) == os.getpid()
        wait_until_parked(server, 1)
        with child_that_serves(server) as pid:
            ask_until_all_answered(address, {os.getpid(), pid})
            assert int(ask(parked, b"?\n")) == os.getpid()
        ask_until_all_answered(address, {os.getpid()})
        assert int(ask(parked, b"?\n")) == os.getpid()
        eventually(lambda: server.stats().open <= 2)


def leave_server_to_parent(mixin: str) -> None:
    """The child has nothing to do with the server, and says so as programs do."""
    server = new_server(mixin)
    with running(server) as address, connect(address) as parked:
        assert int(ask(parked, b"?\n")) == os.getpid()
        wait_until_parked(server, 1)

        def leave() -> None:
            assert server.stats().open == 0
            server.shutdown()
            server.drain()
            server.server_close()

        with child(leave):
            pass
        ask_until_all_answered(address, {os.getpid()})
        assert int(ask(parked, b"?\n")) == os.getpid()


@in_each_process
@under_every_mixin
@pytest.mark.parametrize(
    "way",
    [
        "serve_in_child_only",
        "serve_in_pool",
        "serve_here_while_child_does",
        "leave_server_to_parent",
    ],
)
def test_each_process_serves_where_the_program_serves(
    alone, mode: str, mixin: str, way: str
) -> None:
    alone(mode, globals()[way], mixin)


def serve_for(be_client: Callable[[], Any], server: Any) -> None:
    """Serve in the main thread until `be_client` is done, in a native one.

    Where greenlets fork, all of the program's that are not greensock's live on in the child, as
    gevent has it; the client is not to be among them.
    """
    failures: list[str] = []

    def run() -> None:
        try:
            be_client()
        except BaseException:  # noqa: BLE001
            failures.append(traceback.format_exc())
        server.shutdown()

    start: Any = monkey.get_original("_thread", "start_new_thread")
    start(run, ())
    server.serve_forever()
    server.server_close()
    assert not failures, failures[0]


class Helped(WhoServes):
    """Has a process of its own for a helper, which is there until it is told to go."""

    def handle_one_request(self) -> None:
        line = self.rfile.readline()
        if line == b"help\n":
            self.server.helpers.append(start_helper(self.server.told[0]))
        if line:
            self.wfile.write(b"%d\n" % served_by(self.server))


def start_helper(told: int) -> int:
    pid = fork()
    if pid == 0:
        try:
            # The hub turns, and has nobody else to wake.
            while not select.select([told], [], [], 0)[0]:
                gevent.sleep(0.005)
        finally:
            os._exit(0)
    return pid


def end_helpers(server: Any) -> None:
    os.write(server.told[1], b".")
    for pid in server.helpers:
        assert os.waitpid(pid, 0)[1] == 0
    for fd in server.told:
        os.close(fd)


def help_a_handler(mixin: str) -> None:
    server = new_server(mixin, Helped, told=os.pipe(), helpers=[])
    address = server.server_address

    def be_client() -> None:
        with connect(address) as parked, connect(address) as helped:
            for client in (parked, helped):
                assert int(ask(client, b"?\n")) == os.getpid()
            assert int(ask(helped, b"help\n")) == os.getpid()
            for _ in range(5):
                ask_until_all_answered(address, {os.getpid()})
                for client in (parked, helped):
                    assert int(ask(client, b"?\n")) == os.getpid()

    serve_for(be_client, server)
    end_helpers(server)


def help_beside_the_server(mixin: str) -> None:
    """The helper is forked by the main thread, in whose hub a patched process serves too."""
    server = new_server(mixin, told=os.pipe(), helpers=[])
    with running(server) as address, connect(address) as parked, connect(address) as amid:
        for client in (parked, amid):
            assert int(ask(client, b"?\n")) == os.getpid()
        if mixin != NONE:
            amid.sendall(b"half of a ")
        server.helpers.append(start_helper(server.told[0]))
        for _ in range(5):
            ask_until_all_answered(address, {os.getpid()})
        for client in (parked, amid):
            assert int(ask(client, b"line\n")) == os.getpid()
        end_helpers(server)


@in_each_process
@under_every_mixin
@pytest.mark.parametrize("way", ["help_a_handler", "help_beside_the_server"])
def test_child_that_does_something_else_takes_no_client(
    alone, mode: str, mixin: str, way: str
) -> None:
    alone(mode, globals()[way], mixin)


class OwnChildren:
    """As programs fork for each request, without ForkingMixIn."""

    def process_request(self: Any, request: Any, client_address: Any) -> None:
        pid = fork()
        if pid:
            self.helpers.append(pid)
            self.close_request(request)
            return
        try:
            self.finish_request(request, client_address)
            self.shutdown_request(request)
        finally:
            os._exit(0)


class Pids(ClassicEcho):
    """Answers with the process that it runs in."""

    def handle(self) -> None:
        for _ in self.rfile:
            self.wfile.write(b"%d\n" % os.getpid())


def fork_for_each_request(mixin: str) -> None:
    kind = type("Own", (OwnChildren, server_class(mixin)), {})
    server: Any = kind(ANY_PORT, Pids)
    server.helpers = []

    def be_client() -> None:
        with clients(server.server_address, 4) as each:
            answers = [int(ask(client, b"?\n")) for client in each]
            assert sorted(answers) == sorted(server.helpers)
            for _ in range(3):
                assert [int(ask(client, b"?\n")) for client in each] == answers

    serve_for(be_client, server)
    for pid in server.helpers:
        assert os.waitpid(pid, 0)[1] == 0


@in_each_process
@under_every_mixin
def test_program_may_fork_for_each_request(alone, mode: str, mixin: str) -> None:
    alone(mode, fork_for_each_request, mixin)


class ForksAndReturns(WhoServes):
    def handle_one_request(self) -> None:
        if self.rfile.readline():
            pid = fork()
            if pid:
                self.server.helpers.append(pid)
                self.wfile.write(b"%d\n" % pid)


def return_in_child(mixin: str) -> None:
    """As with a thread that forks: it is the child's only one, and so its end is the child's."""
    server = new_server(mixin, ForksAndReturns, helpers=[])
    address = server.server_address

    def be_client() -> None:
        with connect(address) as parked:
            for _ in range(3):
                with connect(address) as client:
                    assert int(ask(client, b"?\n")) != os.getpid()
            assert int(ask(parked, b"?\n")) != os.getpid()

    serve_for(be_client, server)
    for pid in server.helpers:
        assert os.waitpid(pid, 0)[1] == 0


@in_each_process
@pytest.mark.parametrize("mixin", [GREENLET, THREADING])
def test_child_of_a_handler_ends_with_the_handler(alone, mode: str, mixin: str) -> None:
    alone(mode, return_in_child, mixin)


class ServesAgain(WhoServes):
    """Has a child of its own serve too, and for ever."""

    def handle_one_request(self) -> None:
        if self.rfile.readline() == b"fork\n" and not fork():
            try:
                self.server.serve_forever()
            finally:
                os._exit(3)
        self.wfile.write(b"%d\n" % served_by(self.server))


def serve_again_in_handlers_child(mixin: str) -> None:
    server = new_server(mixin, ServesAgain)
    address = server.server_address
    others: set[int] = set()

    def be_client() -> None:
        with connect(address) as client:
            assert int(ask(client, b"fork\n")) == os.getpid()
            while not others:
                with connect(address) as other:
                    others.update({int(ask(other, b"?\n"))} - {os.getpid()})
            assert int(ask(client, b"?\n")) == os.getpid()
            os.kill(*others, signal.SIGKILL)
            eventually(lambda: not Path(f"/proc/{min(others)}/exe").exists())
            ask_until_all_answered(address, {os.getpid()})

    serve_for(be_client, server)
    assert os.waitpid(others.pop(), 0)[1] == signal.SIGKILL


@in_each_process
@pytest.mark.parametrize("mixin", [NONE, GREENLET, THREADING])
def test_child_of_a_handler_may_serve_too(alone, mode: str, mixin: str) -> None:
    alone(mode, serve_again_in_handlers_child, mixin)


def move_to_another_process(mixin: str) -> None:
    """A daemon forks in a hook of its serving loop, and its parent leaves."""
    told, tell = os.pipe()

    def service_actions(self: Any) -> None:
        if self.moves and self.stats().parked == 1:
            self.moves = False
            if fork():
                os._exit(0)
            os.write(tell, b"%d\n" % os.getpid())

    server = new_server(mixin, service_actions=service_actions, moves=True)
    with child(lambda: server.serve_forever(0.01)):
        first = connect(server.server_address)
    new = int(os.read(told, 100))
    try:
        for _ in range(5):
            ask_until_all_answered(server.server_address, {new})
        # It was the first process's, and ended with it.
        with contextlib.suppress(ConnectionError):
            assert receive_all(first) == b""
    finally:
        os.kill(new, signal.SIGKILL)
        first.close()
        server.server_close()


@in_each_process
@under_every_mixin
def test_server_may_move_to_another_process_amid_serving(alone, mode: str, mixin: str) -> None:
    alone(mode, move_to_another_process, mixin)
