"""Parked clients when a server stops, and thousands of them while it serves."""

import os
import threading
from typing import Any

import pytest

from greensock.testing import running

from ..clients import (
    answer_of,
    ask,
    clients,
    connect,
    eventually,
    exchange,
    receive_all,
    receive_line,
    wait_until_parked,
)
from ..separate_process import HERE, LIBUV, UNPATCHED
from ..server_kinds import (
    CONCURRENT,
    FORKING,
    THREADING,
    ClassicEcho,
    Echo,
    Holding,
    everywhere,
    make_server,
    under_every_mixin,
)

pytest_plugins = ["tests.alone"]


class GathersAnswers(Echo):
    wbufsize = -1


class LeavesBytes(Echo):
    """Reads no more than it was asked to, and finds the rest where it was."""

    rbufsize = 0

    def handle_one_request(self) -> None:
        line = b""
        while not line.endswith(b"\n"):
            line += self.request.recv(1)
        self.wfile.write(line)


def serve_again(mixin: str, handler: str) -> None:
    server = make_server(mixin, globals()[handler], linger=0.001)
    silent = connect(server.server_address)
    client = connect(server.server_address)
    for number in range(3):
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        line = b"%d\n" % number
        exchange(client, line, line)
        wait_until_parked(server, 2)
        server.shutdown()
        thread.join()
        assert server.stats().parked == 2
    client.sendall(b"while nobody serves\n")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    assert receive_line(client) == b"while nobody serves\n"
    assert ask(silent, b"at last\n") == b"at last\n"
    server.shutdown()
    thread.join()
    server.server_close()
    assert receive_all(client) == b""
    assert receive_all(silent) == b""
    client.close()
    silent.close()


@everywhere
@under_every_mixin
def test_parked_clients_outlive_shutdown(alone, mode: str, mixin: str) -> None:
    alone(mode, serve_again, mixin, "Echo")


@under_every_mixin
@pytest.mark.parametrize("handler", ["GathersAnswers", "LeavesBytes"])
def test_parked_clients_are_answered_as_before_shutdown(alone, mixin: str, handler: str) -> None:
    alone(HERE, serve_again, mixin, handler)


def stop_amid_return(mixin: str) -> None:
    """A turn ends elsewhere while the serving greenlet is in a hook that stops the server."""

    stop = threading.Event()

    def service_actions(self: Any) -> None:
        if stop.is_set():
            if mixin == THREADING:
                eventually(lambda: not self._threads)
            else:
                eventually(lambda: children_are_gone(self))
            self.shutdown()

    server = make_server(mixin, Holding, linger=0, service_actions=service_actions)
    client = connect(server.server_address)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    assert ask(client, b"x\n") == b"begun\n"
    stop.set()
    client.sendall(b"y\n")
    thread.join()
    assert receive_line(client) == b"y\n"
    stop.clear()
    with running(server), client:
        assert ask(client, b"x\n") == b"begun\n"
        assert ask(client, b"y\n") == b"y\n"


def children_are_gone(server: Any) -> bool:
    return all(
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None
        for pid in server.active_children or ()
    )


@pytest.mark.parametrize("mode", [HERE, UNPATCHED, LIBUV])
@pytest.mark.parametrize("mixin", [THREADING, FORKING])
def test_turn_that_ends_as_the_server_stops_is_not_lost(alone, mode: str, mixin: str) -> None:
    alone(mode, stop_amid_return, mixin)


def hold_idle_clients(mixin: str, count: int) -> None:
    import resource

    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(20_000, hard), hard))
    server = make_server(mixin, Echo, linger=0.001)
    with running(server) as address, connect(address) as first:
        assert ask(first, b"first\n") == b"first\n"
        with clients(address, count - 1):
            wait_until_parked(server, count)
            assert answer_of(address, b"one more\n") == b"one more\n"
            assert ask(first, b"first again\n") == b"first again\n"


@pytest.mark.parametrize("mode", [UNPATCHED])
@under_every_mixin
def test_thousands_of_idle_clients_keep_nobody_waiting(alone, mode: str, mixin: str) -> None:
    alone(mode, hold_idle_clients, mixin, 5_000)


@pytest.mark.parametrize("mixin", CONCURRENT)
def test_clients_of_a_classic_handler_are_held_side_by_side(mixin: str) -> None:
    """Each keeps its greenlet, thread or child for as long as it is there."""
    with running(make_server(mixin, ClassicEcho)) as address, clients(address, 20) as each:
        for client in each:
            assert ask(client, b"1\n") == b"1\n"
        assert answer_of(address, b"one more\n") == b"one more\n"
        assert ask(each[0], b"2\n") == b"2\n"
