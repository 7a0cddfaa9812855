"""Out of descriptors, threads or processes: no spin, one warning, and back once there are some.

The limits are the kernel's own, set for a process of the test's.
"""

import contextlib
import logging
import os
import resource
import socket
import time
from typing import Any

import pytest

from greensock.testing import running

from ..clients import Client, ask, connect, eventually, receive_all, receive_line, wait_until_parked
from ..separate_process import LIBUV, PATCHED, UNPATCHED
from ..server_kinds import FORKING, MIXINS, THREADING, ClassicEcho, Echo, make_server

pytest_plugins = ["tests.alone"]


class Records(logging.Handler):
    def __init__(self, name: str = "greensock.serve") -> None:
        super().__init__(logging.INFO)
        self.messages: list[str] = []
        logger = logging.getLogger(name)
        logger.addHandler(self)
        logger.setLevel(logging.INFO)

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(f"{record.levelname}: {record.getMessage()}")


def be_a_user_of_ones_own() -> None:
    """The number of processes is limited by user, and not for the superuser at all."""
    if os.geteuid() == 0:
        uid = 60_000 + os.getpid() % 5_000
        os.setresuid(uid, uid, uid)


def processes_of_this_user() -> int:
    """Threads of the kernel's, of all this user's processes."""
    count = 0
    for name in os.listdir("/proc"):
        if name.isdecimal():
            with contextlib.suppress(OSError):
                if os.stat(f"/proc/{name}").st_uid == os.getuid():
                    count += len(os.listdir(f"/proc/{name}/task"))
    return count


class Holding(Echo):
    """Says that it has begun, and is busy until its client sends more."""

    def handle_one_request(self) -> None:
        self.rfile.readline()
        self.wfile.write(b"begun\n")
        self.wfile.write(self.rfile.readline())


class HoldingWhole(ClassicEcho):
    def handle(self) -> None:
        Holding.handle_one_request(self)  # type: ignore[arg-type]


def is_ready(client: socket.socket) -> bool:
    client.setblocking(False)
    try:
        return bool(client.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return False
    finally:
        client.settimeout(20)


def run_out_of_processes(mixin: str, handler: str) -> None:
    be_a_user_of_ones_own()
    records = Records()
    kind = {"Holding": Holding, "HoldingWhole": HoldingWhole}[handler]
    server = make_server(mixin, kind, linger=0, max_children=None)
    with running(server) as address:
        hard = resource.getrlimit(resource.RLIMIT_NPROC)[1]
        resource.setrlimit(resource.RLIMIT_NPROC, (processes_of_this_user() + 3, hard))
        clients = [connect(address) for _ in range(8)]
        for client in clients:
            client.sendall(b"begin\n")
        eventually(lambda: any("out of" in each for each in records.messages))
        begun = time.process_time()
        time.sleep(0.2)
        assert time.process_time() - begun < 0.1
        busy = [client for client in clients if is_ready(client)]
        assert 0 < len(busy) < 8
        # Existing clients are answered, and each that ends lets another begin.
        assert receive_line(busy[0]) == b"begun\n"
        assert ask(busy[0], b"end\n") == b"end\n"
        waiting = [client for client in clients if client not in busy]
        eventually(lambda: any(map(is_ready, waiting)))
        resource.setrlimit(resource.RLIMIT_NPROC, (hard, hard))
        for client in clients:
            if client is not busy[0]:
                assert receive_line(client) == b"begun\n"
                assert ask(client, b"end\n") == b"end\n"
        for client in clients:
            client.close()
        eventually(lambda: server.stats().open == 0)
    what = {THREADING: "threads", FORKING: "processes"}[mixin]
    warnings = [each for each in records.messages if "WARNING" in each]
    assert warnings[0].startswith(f"WARNING: out of {what}")
    # Another episode for the one client who got in in between, at the most.
    assert len(warnings) <= 2
    assert f"INFO: starting {what} again" in records.messages
    assert server.stats().errors == 0


@pytest.mark.parametrize("handler", ["Holding", "HoldingWhole"])
@pytest.mark.parametrize(
    ("mode", "mixin"),
    [(UNPATCHED, THREADING), (UNPATCHED, FORKING), (PATCHED, FORKING)],
)
def test_who_is_ready_waits_for_a_thread_or_process(
    alone, mode: str, mixin: str, handler: str
) -> None:
    alone(mode, run_out_of_processes, mixin, handler)


def shed_without_processes(mixin: str) -> None:
    be_a_user_of_ones_own()
    server = make_server(
        mixin, HoldingWhole, overflow="reject", reject_request=busy_line, max_children=None
    )
    with running(server) as address:
        limit = processes_of_this_user() + 1
        hard = resource.getrlimit(resource.RLIMIT_NPROC)[1]
        resource.setrlimit(resource.RLIMIT_NPROC, (limit, hard))
        clients = [connect(address) for _ in range(4)]
        for client in clients:
            client.sendall(b"begin\n")
        answers = [receive_line(client) for client in clients]
        assert answers.count(b"begun\n") == 1
        assert answers.count(b"busy\n") == 3
        for client in clients:
            client.close()
        eventually(lambda: server.stats().open == 0)
    assert server.stats().rejected == 3


@pytest.mark.parametrize("mixin", [THREADING, FORKING])
@pytest.mark.expect_warnings("out of (threads|processes)")
def test_who_finds_no_thread_or_process_may_be_rejected(alone, mixin: str) -> None:
    alone(UNPATCHED, shed_without_processes, mixin)


def reject_who_has_spoken(mixin: str) -> None:
    """Bytes that nobody has read make the kernel reset the connection, and lose the last word."""
    be_a_user_of_ones_own()
    server = make_server(
        mixin, ClassicEcho, overflow="reject", reject_request=busy_line, max_children=None
    )
    server.pause()
    with running(server) as address:
        limit = processes_of_this_user()
        hard = resource.getrlimit(resource.RLIMIT_NPROC)[1]
        resource.setrlimit(resource.RLIMIT_NPROC, (limit, hard))
        with connect(address) as client:
            client.sendall(b"x" * 10_000)
            server.resume()
            assert receive_line(client) == b"busy\n"
            eventually(lambda: server.stats().open == 0)
            assert client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
            assert receive_all(client) == b""
    assert server.stats().rejected == 1


@pytest.mark.parametrize("mixin", [THREADING, FORKING])
@pytest.mark.expect_warnings("out of (threads|processes)")
def test_who_is_rejected_after_having_spoken_is_told(alone, mixin: str) -> None:
    alone(UNPATCHED, reject_who_has_spoken, mixin)


def watch_without_threads() -> None:
    be_a_user_of_ones_own()
    records = Records("greensock.stalls")
    server = make_server("greenlet", Echo)
    with running(server) as address, connect(address) as client:
        hard = resource.getrlimit(resource.RLIMIT_NPROC)[1]
        resource.setrlimit(resource.RLIMIT_NPROC, (processes_of_this_user(), hard))
        server.stall_timeout = 60
        eventually(lambda: records.messages)
        server.idle_timeout = 60
        assert ask(client, b"x\n") == b"x\n"
        (message,) = records.messages
        assert message.startswith("WARNING: stalls cannot be watched for: ")
        resource.setrlimit(resource.RLIMIT_NPROC, (hard, hard))
        threads = len(os.listdir("/proc/self/task"))
        server.stall_timeout = 61
        eventually(lambda: len(os.listdir("/proc/self/task")) == threads + 1)


@pytest.mark.parametrize("mode", [UNPATCHED, PATCHED, LIBUV])
def test_server_without_a_thread_to_watch_it_serves_on(alone, mode: str) -> None:
    alone(mode, watch_without_threads)


def busy_line(self: Any, request: Any, client_address: Any) -> None:
    request.sendall(b"busy\n")


def use_up_descriptors() -> list[int]:
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, 4096))
    hoard = []
    while True:
        try:
            hoard.append(os.dup(0))
        except OSError:
            return hoard


def connect_later(sockets: list[Client], address: Any) -> None:
    for each in sockets:
        each.settimeout(20)
        each.connect(address)


def shed_without_descriptors(mixin: str) -> None:
    records = Records()
    server = make_server(
        mixin, Echo, overflow="reject", reject_request=busy_line, linger=0.001, max_connections=500
    )
    with running(server) as address, connect(address) as existing:
        assert ask(existing, b"x\n") == b"x\n"
        wait_until_parked(server, 1)
        later = [Client() for _ in range(5)]
        last = Client()
        if mixin == FORKING:
            # A child has a descriptor while it runs.
            os.dup(0)
        hoard = use_up_descriptors()
        if mixin == FORKING:
            os.close(hoard.pop())
        begun = time.process_time()
        connect_later(later[: 3 if mixin == FORKING else 5], address)
        closed = later[1:3] if mixin == FORKING else later
        for client in closed:
            assert receive_all(client) == b"busy\n"
        if mixin != FORKING:
            assert ask(existing, b"still there\n") == b"still there\n"
        time.sleep(0.1)
        assert time.process_time() - begun < 0.1
        for fd in hoard:
            os.close(fd)
        connect_later([last], address)
        assert ask(last, b"at last\n") in (b"at last\n", b"busy\n")
        for client in (*later, last):
            client.close()
    assert [each for each in records.messages if "WARNING" in each]
    assert server.stats().rejected >= len(closed)


@pytest.mark.parametrize("mode", [UNPATCHED, PATCHED, LIBUV])
@pytest.mark.parametrize("mixin", ["none", "greenlet", THREADING])
def test_who_finds_no_descriptor_may_be_rejected_at_once(alone, mode: str, mixin: str) -> None:
    """With a spare descriptor; a patched os.close would give it back too late."""
    alone(mode, shed_without_descriptors, mixin)


def evict_without_descriptors(mixin: str) -> None:
    Records()
    server = make_server(mixin, Echo, overflow="evict", linger=0.001, max_connections=500)
    with running(server) as address:
        first = connect(address)
        assert ask(first, b"x\n") == b"x\n"
        wait_until_parked(server, 1)
        second = connect(address)
        assert ask(second, b"x\n") == b"x\n"
        wait_until_parked(server, 2)
        later = Client()
        hoard = use_up_descriptors()
        connect_later([later], address)
        assert receive_all(first) == b""
        # Its descriptor has become the newcomer's.
        later.sendall(b"here\n")
        if mixin != FORKING:
            assert receive_line(later) == b"here\n"
        for fd in hoard:
            os.close(fd)
        assert ask(second, b"y\n") == b"y\n"
        for client in (first, second, later):
            client.close()
    assert server.stats().evicted >= 1


@pytest.mark.parametrize("mode", [UNPATCHED, PATCHED])
@pytest.mark.parametrize("mixin", MIXINS)
def test_longest_parked_gives_its_descriptor_to_a_newcomer(alone, mode: str, mixin: str) -> None:
    alone(mode, evict_without_descriptors, mixin)


def start_without_reserve() -> None:
    """The default bound keeps a reserve for the program's own files."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, 4096))
    server = make_server("greenlet", Echo)
    with running(server) as address:
        others = len(os.listdir("/proc/self/fd"))
        room = (256 - others - 64) // 2
        clients = [connect(address) for _ in range(room + 30)]
        eventually(lambda: server.stats().open > room - 30)
        time.sleep(0.05)
        # Half of the descriptors are the clients' own ends: the server may have what is left.
        assert len(os.listdir("/proc/self/fd")) <= 256
        open(os.devnull).close()
        for client in clients:
            client.close()


def test_default_bound_leaves_files_to_the_program(alone) -> None:
    alone(UNPATCHED, start_without_reserve)
