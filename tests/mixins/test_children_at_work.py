"""ForkingMixIn: children beside the program's other children, and how they end."""

import os
import signal
import socket
import subprocess
import threading
from typing import Any, ClassVar

import gevent
import gevent.socket
import pytest
from gevent import monkey

from greensock import ForkingTCPServer, ForkingUDPServer
from greensock.testing import running

from ..clients import (
    answer_of,
    ask,
    clients,
    connect,
    eventually,
    receive_all,
    receive_line,
)
from ..separate_process import HERE, LIBUV, NATIVE_THREADS, PATCHED, PATCHED_LIBUV, UNPATCHED
from ..server_kinds import ANY_PORT, ClassicEcho, Echo, make_server

pytest_plugins = ["tests.alone"]

everywhere = pytest.mark.parametrize(
    "mode", [HERE, UNPATCHED, PATCHED, NATIVE_THREADS, LIBUV, PATCHED_LIBUV]
)


def pid_line() -> bytes:
    return b"%d\n" % os.getpid()


class Pid(Echo):
    """Answers with the process that it runs in, after a cooperative sleep."""

    def handle_one_request(self) -> None:
        self.rfile.readline()
        gevent.sleep(0.1)
        self.wfile.write(pid_line())


class ClassicPid(ClassicEcho):
    def handle(self) -> None:
        Pid.handle_one_request(self)  # type: ignore[arg-type]


class RunsPrograms(ClassicEcho):
    def handle(self) -> None:
        status = int(self.rfile.readline())
        self.wfile.write(b"%d\n" % subprocess.call(["sh", "-c", f"exit {status}"]))


def run_programs_beside() -> None:
    server = make_server("forking", RunsPrograms)
    with running(server) as address:
        programs = [subprocess.Popen(["sh", "-c", f"read x; exit {status}"], stdin=subprocess.PIPE)
                    for status in (3, 4)]  # fmt: skip
        for _ in range(5):
            assert answer_of(address, b"5\n") == b"5\n"
        for program in programs:
            program.communicate(b"\n")
        assert [program.returncode for program in programs] == [3, 4]
        eventually(lambda: server.active_children == set())


# Not among native threads in a patched process: there subprocess is gevent's, which needs the main
# thread's loop.
@pytest.mark.parametrize("mode", [HERE, UNPATCHED, PATCHED, LIBUV, PATCHED_LIBUV])
def test_programs_started_beside_the_server_keep_their_status(alone, mode: str) -> None:
    alone(mode, run_programs_beside)


class RunsProgramsBeside(ForkingTCPServer):
    """Runs a program with gevent's subprocess while it serves; only in the main thread."""

    statuses: ClassVar[list[int]] = []

    def serve_forever(self, poll_interval: float = 0.5) -> None:
        from gevent import subprocess as cooperative

        def run() -> None:
            self.statuses.append(cooperative.call(["sh", "-c", "exit 3"]))
            for _ in range(5):
                self.statuses.append(cooperative.call(["sh", "-c", "exit 4"]))

        program = gevent.spawn(run)
        super().serve_forever(poll_interval)
        program.join()


def run_cooperative_programs_beside(max_children: int) -> None:
    server = RunsProgramsBeside(ANY_PORT, ClassicPid)
    server.max_children = max_children
    answers = []

    def be_client() -> None:
        with clients(server.server_address, 6) as each:
            for client in each:
                client.sendall(b"?\n")
            answers.extend(int(receive_line(client)) for client in each)
        eventually(lambda: server.active_children == set())
        server.shutdown()

    thread = threading.Thread(target=be_client)
    thread.start()
    with server:
        server.serve_forever()
    thread.join()
    assert server.statuses == [3, 4, 4, 4, 4, 4]
    assert len(set(answers)) == 6


@pytest.mark.parametrize("mode", [UNPATCHED, PATCHED, NATIVE_THREADS, LIBUV, PATCHED_LIBUV])
@pytest.mark.parametrize("max_children", [2, 40])
def test_gevents_programs_and_children_do_not_take_each_others_exits(
    alone, mode: str, max_children: int
) -> None:
    """gevent's loop reaps every child of the process once a program has been run with it."""
    alone(mode, run_cooperative_programs_beside, max_children)


def handle_requests_one_by_one() -> None:
    with make_server("forking", ClassicPid, max_children=1) as server:
        with clients(server.server_address, 3) as each:
            for client in each:
                client.sendall(b"?\n")
                server.handle_request()
                assert len(server.active_children) == 1
            assert len({receive_line(client) for client in each}) == 3
        server.collect_children(blocking=True)
        assert server.active_children == set()


@pytest.mark.parametrize("mode", [HERE, UNPATCHED, PATCHED, LIBUV])
def test_handle_request_keeps_to_the_number_of_children(alone, mode: str) -> None:
    alone(mode, handle_requests_one_by_one)


class EndsWhenTold(Echo):
    def handle_one_request(self) -> None:
        line = self.rfile.readline()
        self.wfile.write(line)
        self.close_connection = line == b"end\n"


class NotesWhoCloses(ForkingTCPServer):
    linger = 60.0
    closed_by: ClassVar[list[int]] = []

    def close_request(self, request: Any) -> None:
        self.closed_by.append(threading.get_ident())
        super().close_request(request)


def collect_in_another_thread() -> None:
    NotesWhoCloses.closed_by = []
    server = NotesWhoCloses(("127.0.0.1", 0), EndsWhenTold)
    with running(server) as address, clients(address, 10) as each:
        for client in each:
            assert ask(client, b"x\n") == b"x\n"
        collecting = [
            threading.Thread(target=server.collect_children, kwargs={"blocking": True})
            for _ in range(3)
        ]
        for thread in collecting:
            thread.start()
        for client in each:
            client.sendall(b"end\n")
        for thread in collecting:
            thread.join()
        assert not server.active_children
        assert len(server.closed_by) == 10
        assert threading.get_ident() not in server.closed_by
        assert not {thread.ident for thread in collecting}.intersection(server.closed_by)


@pytest.mark.parametrize("mode", [HERE, UNPATCHED, LIBUV])
def test_children_are_collected_where_they_are_watched(alone, mode: str) -> None:
    alone(mode, collect_in_another_thread)


def shut_down_in_child() -> None:
    class ShuttingDown(ClassicEcho):
        def handle(self) -> None:
            signal.raise_signal(signal.SIGTERM)
            self.server.shutdown()
            self.wfile.write(b"returned\n")

    server = make_server("forking", ShuttingDown)
    signal.signal(signal.SIGTERM, lambda *_: server.shutdown())
    with running(server) as address:
        for _ in range(2):
            with connect(address) as client:
                assert receive_all(client) == b"returned\n"


@pytest.mark.parametrize("mode", [UNPATCHED, PATCHED, LIBUV])
def test_shutdown_in_a_child_returns_and_the_parent_serves_on(alone, mode: str) -> None:
    alone(mode, shut_down_in_child)


def leave_by_exception(name: str) -> None:
    class Raising(ClassicEcho):
        def handle(self) -> None:
            self.wfile.write(pid_line())
            raise {"ValueError": ValueError, "SystemExit": SystemExit,
                   "KeyboardInterrupt": KeyboardInterrupt}[name]  # fmt: skip

    with running(make_server("forking", Raising)) as address:
        for _ in range(2):
            with connect(address) as client:
                # Whoever got back into the parent's program would have closed nothing.
                lines = receive_all(client).split()
                assert len(lines) == 1
                assert int(lines[0]) != os.getpid()


@pytest.mark.parametrize("mode", [UNPATCHED, PATCHED, LIBUV])
@pytest.mark.parametrize(
    "name",
    [
        pytest.param("ValueError", marks=pytest.mark.expect_warnings("^Exception occurred")),
        "SystemExit",
        "KeyboardInterrupt",
    ],
)
def test_exception_ends_the_child_and_only_it(alone, mode: str, name: str) -> None:
    alone(mode, leave_by_exception, name)


def serve_datagrams() -> None:
    class PidOfDatagram(ClassicEcho):
        def setup(self) -> None:
            self.data, self.socket = self.request

        def handle(self) -> None:
            gevent.sleep(0.01)
            self.socket.sendto(pid_line(), self.client_address)

        def finish(self) -> None:
            pass

    server = ForkingUDPServer(ANY_PORT, PidOfDatagram)
    with running(server) as address, socket.socket(type=socket.SOCK_DGRAM) as client:
        client.settimeout(20)
        pids = set()
        for _ in range(5):
            client.sendto(b"?", address)
            pids.add(int(client.recv(100)))
        assert len(pids) == 5
        assert os.getpid() not in pids


@everywhere
def test_datagram_is_answered_by_a_child(alone, mode: str) -> None:
    alone(mode, serve_datagrams)


def fork_in_native_thread() -> None:
    server = make_server("forking", ClassicPid)
    start: Any = monkey.get_original("_thread", "start_new_thread")
    lock: Any = monkey.get_original("_thread", "allocate_lock")()
    lock.acquire()

    def serve() -> None:
        server.serve_forever()
        lock.release()

    start(serve, ())
    assert answer_of(server.server_address, b"?\n") != pid_line()
    server.shutdown()
    lock.acquire()
    server.server_close()


@pytest.mark.parametrize("mode", [PATCHED, PATCHED_LIBUV])
def test_patched_process_may_fork_in_a_native_thread(alone, mode: str) -> None:
    """There, gevent's os.fork raises in the parent after it has forked."""
    alone(mode, fork_in_native_thread)


def use_own_hub_objects() -> None:
    """A gevent object of the parent's must fail in the child, not run the parent's hub."""

    class Touching(ClassicEcho):
        def handle(self) -> None:
            try:
                parents.recv(1)
            except Exception as error:  # noqa: BLE001
                self.wfile.write(type(error).__name__.encode() + b"\n")

    class WithSocket(ForkingTCPServer):
        def serve_forever(self, poll_interval: float = 0.5) -> None:
            nonlocal parents, other_end
            parents, other_end = gevent.socket.socketpair()
            reading = gevent.spawn(parents.recv, 1)
            super().serve_forever(poll_interval)
            other_end.send(b"x")
            assert reading.get() == b"x"

    parents: Any = None
    other_end: Any = None
    with running(WithSocket(ANY_PORT, Touching)) as address, connect(address) as client:
        assert receive_all(client).strip()
    parents.close()
    other_end.close()


@pytest.mark.parametrize("mode", [UNPATCHED, PATCHED, LIBUV, PATCHED_LIBUV])
def test_gevent_objects_of_the_parent_fail_loudly_in_a_child(alone, mode: str) -> None:
    alone(mode, use_own_hub_objects)
