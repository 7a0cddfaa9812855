"""Listening: what errors of accept mean, the listener's mode, and its end."""

import errno
import logging
import os
import resource
import socket
import tempfile
import threading
import time
from typing import Any

import gevent
import pytest
from gevent import get_hub

from greensock.net.listening import AcceptError, classify
from greensock.testing import running

from ..clients import answer_of, ask, clients, connect, eventually, receive_all
from ..separate_process import HERE, LIBUV, PATCHED, PATCHED_LIBUV, UNPATCHED
from ..server_kinds import (
    ANY_PORT,
    GREENLET,
    TCP,
    UDP,
    UNIX_DATAGRAM,
    UNIX_STREAM,
    ClassicEcho,
    Echo,
    in_each_process,
    make_server,
    server_class,
    under_every_mixin,
)

pytest_plugins = ["tests.alone"]


@pytest.mark.parametrize(
    ("number", "meaning"),
    [
        (errno.EAGAIN, AcceptError.NOTHING_WAITS),
        (errno.ECONNABORTED, AcceptError.CLIENT_LOST),
        (errno.EPROTO, AcceptError.CLIENT_LOST),
        (errno.EPERM, AcceptError.CLIENT_LOST),
        (errno.ENETDOWN, AcceptError.CLIENT_LOST),
        (errno.EMFILE, AcceptError.EXHAUSTED),
        (errno.ENFILE, AcceptError.EXHAUSTED),
        (errno.ENOBUFS, AcceptError.EXHAUSTED),
        (errno.ENOMEM, AcceptError.EXHAUSTED),
        (errno.EBADF, AcceptError.LISTENER_LOST),
        (errno.ENOTSOCK, AcceptError.LISTENER_LOST),
        (errno.EINVAL, AcceptError.LISTENER_LOST),
    ],
)
def test_errors_of_accept_are_told_apart(number: int, meaning: AcceptError) -> None:
    assert classify(OSError(number, os.strerror(number))) is meaning


@pytest.mark.parametrize("transport", [TCP, UDP, UNIX_STREAM, UNIX_DATAGRAM])
@under_every_mixin
def test_ports_are_reused_where_there_are_ports(mixin: str, transport: str) -> None:
    shared = type("Shared", (server_class(mixin, transport),), {"allow_reuse_port": True})
    with tempfile.TemporaryDirectory() as folder:
        has_ports = transport in (TCP, UDP)
        with shared(ANY_PORT if has_ports else f"{folder}/socket", Echo) as server:
            if has_ports:
                shared(server.server_address, Echo).server_close()


class Records(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(f"{record.levelname}: {record.getMessage()}")


def run_out_of_descriptors(mixin: str) -> None:
    server = make_server(mixin, Echo, linger=0.001)
    records = Records()
    logger = logging.getLogger("greensock")
    logger.addHandler(records)
    logger.setLevel(logging.INFO)
    attempts = [0]
    accept = server.get_request

    def get_request() -> Any:
        attempts[0] += 1
        return accept()

    server._test_get_request = get_request
    type(server).get_request = lambda self: self._test_get_request()
    with running(server) as address:
        assert answer_of(address, b"x\n") == b"x\n"
        eventually(lambda: server.stats().open == 0)
        waiting = [socket.socket() for _ in range(5)]
        hoard = use_up_descriptors()
        attempts[0] = 0
        busy = time.process_time()
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(address)
        time.sleep(0.2)
        assert attempts[0] < 20
        assert time.process_time() - busy < 0.1
        for fd in hoard:
            os.close(fd)
        for each in waiting:
            each.settimeout(20)
            assert ask(each, b"at last\n") == b"at last\n"
            each.close()
    warnings = [each for each in records.messages if each.startswith("WARNING")]
    assert len(warnings) == 1
    assert "out of open files" in warnings[0]
    assert "INFO: accepting again" in records.messages


def use_up_descriptors() -> list[int]:
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, 4096))
    hoard = []
    while True:
        try:
            hoard.append(os.dup(0))
        except OSError:
            return hoard


@pytest.mark.parametrize("mode", [UNPATCHED, PATCHED, LIBUV])
@under_every_mixin
def test_server_out_of_descriptors_waits_and_recovers(alone, mode: str, mixin: str) -> None:
    """The standard library's calls accept 300,000 times a second meanwhile."""
    alone(mode, run_out_of_descriptors, mixin)


def fail_some_times(mixin: str) -> None:
    errors = [OSError(errno.ECONNABORTED, "gone"), OSError(errno.EPROTO, "odd")]

    def get_request(self: Any) -> Any:
        if errors:
            self.socket.accept()[0].close()
            raise errors.pop()
        return base.get_request(self)

    base = server_class(mixin)
    with running(make_server(mixin, Echo, get_request=get_request)) as address:
        for _ in range(2):
            with connect(address) as lost:
                assert receive_all(lost) == b""
        assert answer_of(address, b"x\n") == b"x\n"


@in_each_process
@under_every_mixin
def test_lost_client_does_not_stop_the_server(alone, mode: str, mixin: str) -> None:
    alone(mode, fail_some_times, mixin)


def close_while_serving(mixin: str) -> None:
    """Closed by another thread; its descriptor's number then belongs to somebody else."""
    requests = [0]
    iterations: list[int] = []
    base = server_class(mixin)

    class Counted(base):  # type: ignore[misc, valid-type]
        def get_request(self) -> Any:
            requests[0] += 1
            return super().get_request()

        def serve_forever(self, poll_interval: float = 0.5) -> None:
            def count() -> None:
                loop = get_hub().loop
                begun = loop.iteration if hasattr(loop, "iteration") else 0
                gevent.sleep(0.2)
                now = loop.iteration if hasattr(loop, "iteration") else 0
                iterations.append(now - begun)

            self.count = count
            self.count_now = False
            watch = gevent.spawn(self.wait_and_count)
            super().serve_forever(poll_interval)
            watch.join()
            if threading.get_native_id() != os.getpid():
                get_hub().destroy(destroy_loop=True)

        def wait_and_count(self) -> None:
            while not self.count_now:
                gevent.sleep(0.005)
            self.count()

    server = Counted(ANY_PORT, Echo)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    with connect(server.server_address) as client:
        assert ask(client, b"x\n") == b"x\n"
        number = server.fileno()
        server.server_close()
        with socket.create_server(ANY_PORT) as other:
            assert other.fileno() == number
            before = requests[0]
            with connect(other.getsockname()), connect(other.getsockname()):
                server.count_now = True
                eventually(lambda: iterations)
                assert requests[0] == before
        assert iterations[0] < 50
    server.shutdown()
    thread.join()


@pytest.mark.parametrize("mode", [HERE, LIBUV])
@under_every_mixin
def test_closed_listener_is_watched_no_more(alone, mode: str, mixin: str) -> None:
    alone(mode, close_while_serving, mixin)


def close_under_the_server(mixin: str) -> None:
    """server_close() while serving: whoever was parked is closed, and nothing spins."""
    server = make_server(mixin, Echo, linger=0.001)
    with running(server) as address, connect(address) as client:
        assert ask(client, b"x\n") == b"x\n"
        eventually(lambda: server.stats().parked == 1)
        server.server_close()
        assert receive_all(client) == b""
        with pytest.raises(ConnectionRefusedError):
            connect(address)
        before = time.process_time()
        time.sleep(0.1)
        assert time.process_time() - before < 0.05


@pytest.mark.parametrize("mode", [HERE, UNPATCHED, PATCHED, LIBUV])
@under_every_mixin
def test_server_may_be_closed_while_it_serves(alone, mode: str, mixin: str) -> None:
    alone(mode, close_under_the_server, mixin)


def put_back_mode(timeout: float | None) -> None:
    with make_server(GREENLET, Echo) as server:
        server.socket.settimeout(timeout)
        before = os.get_blocking(server.fileno())
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        assert answer_of(server.server_address, b"x\n") == b"x\n"
        assert os.get_blocking(server.fileno()) is False
        server.shutdown()
        serving.join()
        assert os.get_blocking(server.fileno()) is before


@in_each_process
@pytest.mark.parametrize("timeout", [None, 0, 0.01])
def test_listeners_mode_is_put_back(alone, mode: str, timeout: float | None) -> None:
    alone(mode, put_back_mode, timeout)


def share_listener() -> None:
    """Two servers accept from one socket: whoever comes second finds nobody, and must not wait."""
    first = make_server(GREENLET, ClassicEcho)
    second = server_class(GREENLET)(first.server_address, ClassicEcho, bind_and_activate=False)
    second.socket.close()
    second.socket = first.socket.dup()
    with running(first) as address, running(second):
        for _ in range(20):
            with clients(address, 5) as each:
                for client in each:
                    assert ask(client, b"x\n") == b"x\n"
    assert first.stats().accepted + second.stats().accepted == 100


@pytest.mark.parametrize("mode", [HERE, PATCHED, LIBUV, PATCHED_LIBUV])
def test_servers_may_share_a_listener(alone, mode: str) -> None:
    alone(mode, share_listener)


def test_crowd_is_accepted_in_batches() -> None:
    accepted = [0]
    seen: list[int] = []

    class Asking(Echo):
        def handle_one_request(self) -> None:
            self.wfile.write(self.rfile.readline())
            seen.append(accepted[0])

    def verify_request(self: Any, request: Any, client_address: Any) -> bool:
        accepted[0] += 1
        return True

    server = make_server(GREENLET, Asking, verify_request=verify_request)
    with connect(server.server_address) as first, clients(server.server_address, 200):
        first.sendall(b"x\n")
        with running(server):
            assert first.recv(2) == b"x\n"
            eventually(lambda: accepted[0] == 201)
    assert seen[0] < 201
