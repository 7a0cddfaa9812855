"""ForkingMixIn: what a child may not do to its parent, nor to the parent's other children."""

import contextlib
import os
import struct
import threading
from typing import Any, ClassVar

import gevent
import gevent.socket
import pytest

from greensock import ForkingTCPServer, TCPServer
from greensock.testing import running

from ..clients import (
    answer_of,
    ask,
    clients,
    connect,
    descriptors,
    eventually,
    receive_line,
    wait_until_parked,
)
from ..separate_process import HERE, LIBUV, NATIVE_THREADS, PATCHED, PATCHED_LIBUV, UNPATCHED
from ..server_kinds import ANY_PORT, FORKING, ClassicEcho, Echo, make_server

pytest_plugins = ["tests.alone"]

everywhere = pytest.mark.parametrize(
    "mode", [HERE, UNPATCHED, PATCHED, NATIVE_THREADS, LIBUV, PATCHED_LIBUV]
)
both_kinds = pytest.mark.parametrize("kind", ["ClassicPid", "Pid"])


def pid_line() -> bytes:
    return b"%d\n" % os.getpid()


class Pid(Echo):
    """Answers with the process that it runs in, after a cooperative sleep."""

    def handle_one_request(self) -> None:
        self.rfile.readline()
        gevent.sleep(0.05)
        self.wfile.write(pid_line())


class ClassicPid(ClassicEcho):
    def handle(self) -> None:
        Pid.handle_one_request(self)  # type: ignore[arg-type]


class Busy(ForkingTCPServer):
    """With a greenlet, a timer and a second server beside it, all in the serving thread's hub.

    Each writes down in which process it has run.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.seen, self.write_end = os.pipe()
        self.neighbour = Neighbour(ANY_PORT, ClassicEcho)
        self.neighbour.busy = self

    def note(self) -> None:
        os.write(self.write_end, struct.pack("i", os.getpid()))

    def serve_forever(self, poll_interval: float = 0.5) -> None:
        timer = gevent.get_hub().loop.timer(0.005, 0.005)
        timer.start(self.note)
        ticking = gevent.spawn(self.tick)
        accepting = gevent.spawn(self.neighbour.serve_forever)
        try:
            super().serve_forever(poll_interval)
        finally:
            timer.close()
            ticking.kill()
            self.neighbour.shutdown()
            accepting.join()
            if threading.get_native_id() != os.getpid():
                # Made here, before serve_forever: so it is not the server's to end.
                gevent.get_hub().destroy(destroy_loop=True)

    def tick(self) -> None:
        while True:
            self.note()
            gevent.sleep(0.005)

    def processes(self) -> set[int]:
        """Where something of the parent's has run."""
        data = os.read(self.seen, 65536)
        return {pid for (pid,) in struct.iter_unpack("i", data)}

    def server_close(self) -> None:
        super().server_close()
        self.neighbour.server_close()
        os.close(self.seen)
        os.close(self.write_end)


class Neighbour(TCPServer):
    busy: Busy

    def get_request(self) -> Any:
        self.busy.note()
        return super().get_request()


def isolate(kind: str) -> None:
    server = Busy(ANY_PORT, globals()[kind])
    with running(server) as address, connect(address) as client:
        client.sendall(b"?\n")
        for _ in range(10):
            # While the child sleeps cooperatively.
            connect(server.neighbour.server_address).close()
        assert int(receive_line(client)) != os.getpid()
        # And the parent goes on.
        assert answer_of(server.neighbour.server_address, b"x\n") == b"x\n"
        assert server.processes() == {os.getpid()}


@everywhere
@both_kinds
def test_child_runs_nothing_of_its_parent(alone, mode: str, kind: str) -> None:
    alone(mode, isolate, kind)


def use_thread_pool() -> None:
    class Asking(ClassicEcho):
        def handle(self) -> None:
            self.rfile.readline()
            value = gevent.get_hub().threadpool.apply(len, ("four",))
            self.wfile.write(b"%d\n" % value)

    class Used(ForkingTCPServer):
        def serve_forever(self, poll_interval: float = 0.5) -> None:
            gevent.get_hub().threadpool.apply(len, ("",))
            super().serve_forever(poll_interval)
            if threading.get_native_id() != os.getpid():
                gevent.get_hub().destroy(destroy_loop=True)

    with running(Used(ANY_PORT, Asking)) as address:
        assert answer_of(address, b"?\n") == b"4\n"


@everywhere
def test_child_may_resolve_names_after_the_parent_did(alone, mode: str) -> None:
    """Names are resolved in gevent's pool of threads, which hangs in a child that only forked."""
    alone(mode, use_thread_pool)


class Sockets(Echo):
    """Answers with the sockets that its process has open."""

    def handle_one_request(self) -> None:
        self.rfile.readline()
        self.wfile.write(" ".join(set(descriptors().values())).encode() + b"\n")


accepted: list[Any] = []


def note_request(server: Any, request: Any, client_address: Any) -> bool:
    """A server's verify_request(), which runs in the parent."""
    accepted.append((request, request.fileno()))
    return True


def noting_server(handler: Any) -> Any:
    accepted.clear()
    return make_server("forking", handler, linger=0, verify_request=note_request)


def accepted_links() -> list[str]:
    return [os.readlink(f"/proc/self/fd/{fd}") for _, fd in accepted]


def close_in_child() -> None:
    with running(noting_server(Sockets)) as address:
        server_sockets = {what for what in descriptors().values() if what.startswith("socket:")}
        with connect(address) as first, connect(address) as second:
            own = set(ask(first, b"?\n").decode().split())
            own_of_second = set(ask(second, b"?\n").decode().split())
            request, request_of_second = accepted_links()
        assert request in own
        assert request_of_second in own_of_second
        assert request not in own_of_second
        assert len(own_of_second & server_sockets) < len(server_sockets)


@everywhere
def test_child_holds_neither_other_clients_nor_the_listener(alone, mode: str) -> None:
    alone(mode, close_in_child)


class OfOthers(Echo):
    """Answers with what it can still do with the requests of all clients, its own included."""

    def handle_one_request(self) -> None:
        self.rfile.readline()
        with contextlib.ExitStack() as stack:
            for _ in range(20):
                # Some of these get numbers of the parent's clients.
                stack.enter_context(open(os.devnull, "rb"))
            open_here = descriptors()
            named = [request for request, _ in accepted if request.fileno() in open_here]
        others = set(self.readlinks).intersection(open_here.values())
        self.wfile.write(f"{named == [self.request]} {len(others)}\n".encode())

    readlinks: ClassVar[list[str]] = []


def leave_a_crowd_to_the_parent() -> None:
    OfOthers.readlinks = []
    server = noting_server(OfOthers)
    with running(server) as address, contextlib.ExitStack() as stack:
        crowd = []
        for _ in range(100):
            # One by one: their requests have low numbers and high ones.
            crowd.append(stack.enter_context(connect(address)))
            ask(crowd[-1], b"?\n")
        wait_until_parked(server, 100)
        OfOthers.readlinks = accepted_links()
        for client in crowd[::25]:
            assert ask(client, b"?\n") == b"True 1\n"


@everywhere
def test_child_amid_a_crowd_has_its_own_client_only(alone, mode: str) -> None:
    alone(mode, leave_a_crowd_to_the_parent)


class ReadsFile(Echo):
    """Answers with what the descriptor holds that it is asked for."""

    def handle_one_request(self) -> None:
        fd = int(self.rfile.readline())
        self.wfile.write((os.pread(fd, 10, 0) if fd >= 0 else b"") + b"\n")


def keep_files_of_the_parent() -> None:
    server = noting_server(ReadsFile)
    with running(server) as address, clients(address, 40) as gone:
        for client in gone:
            assert ask(client, b"-1\n") == b"\n"
        wait_until_parked(server, 40)
        numbers = {fd for _, fd in accepted}
        for client in gone:
            client.close()
        wait_until_parked(server, 0)
        files: list[int] = []
        try:
            while not numbers <= set(files):
                files.append(os.memfd_create("file"))
                os.write(files[-1], b"kept")
            for number in numbers:
                assert answer_of(address, f"{number}\n".encode()) == b"kept\n"
        finally:
            for fd in files:
                os.close(fd)


@everywhere
def test_file_with_the_number_of_a_client_who_left_is_there_in_a_child(alone, mode: str) -> None:
    alone(mode, keep_files_of_the_parent)


def find_listener_in_child() -> None:
    server = make_server("forking", Sockets, linger=0)
    listener = os.readlink(f"/proc/self/fd/{server.fileno()}")
    with running(server) as address:
        assert listener not in answer_of(address, b"?\n").decode().split()


@everywhere
def test_child_does_not_hold_the_listener(alone, mode: str) -> None:
    alone(mode, find_listener_in_child)


def compare_blocking_modes() -> None:
    server = make_server("forking", ClassicPid)
    mode_before = os.get_blocking(server.fileno())
    with running(server) as address:
        assert answer_of(address, b"?\n") != pid_line()
        while_serving = os.get_blocking(server.fileno())
        assert answer_of(address, b"?\n") != pid_line()
        assert os.get_blocking(server.fileno()) is while_serving
        server.shutdown()
        assert os.get_blocking(server.fileno()) is mode_before


@everywhere
def test_children_leave_the_listeners_mode_alone(alone, mode: str) -> None:
    """It is shared with the parent: a blocking accept there would stop the parent's hub."""
    alone(mode, compare_blocking_modes)


def leave_a_child() -> None:
    """As with the standard library it runs on; but its end is noticed, by the next server."""
    server = make_server(FORKING, ClassicEcho, block_on_close=False)
    with connect(server.server_address) as client:
        with running(server):
            assert ask(client, b"x\n") == b"x\n"
            (pid,) = server.active_children
        assert ask(client, b"y\n") == b"y\n"
    with open(f"/proc/{pid}/stat") as stat:
        eventually(lambda: stat.seek(0) or ") Z " in stat.read())
    with running(make_server(FORKING, ClassicEcho)) as address:
        assert answer_of(address, b"z\n") == b"z\n"
    assert not os.path.exists(f"/proc/{pid}")


@everywhere
def test_child_that_close_has_not_waited_for_is_reaped_by_the_next_fork(alone, mode: str) -> None:
    alone(mode, leave_a_child)


def wait_for_children(kind: str) -> None:
    server = Busy(ANY_PORT, globals()[kind])
    server.max_children = 2
    with running(server) as address, clients(address, 6) as each:
        for client in each:
            client.sendall(b"?\n")
        # More clients wait than may be served, and the hub runs all the same.
        assert answer_of(server.neighbour.server_address, b"x\n") == b"x\n"
        assert len(server.active_children or ()) <= 2
        assert len({receive_line(client) for client in each}) == 6
        eventually(lambda: server.active_children == set())


@everywhere
@both_kinds
def test_waiting_for_a_free_child_blocks_nobody(alone, mode: str, kind: str) -> None:
    alone(mode, wait_for_children, kind)
