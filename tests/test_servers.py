"""The servers' documented ways: hooks that programs override, sockets they replace, and where
`serve_forever` may run."""

import os
import queue
import select
import socket
import struct
import threading
from typing import Any, ClassVar

import gevent
import pytest
from gevent.hub import get_hub
from greensock import (
    BaseRequestHandler,
    BaseServer,
    DatagramRequestHandler,
    ForkingMixIn,
    GreenletMixIn,
    GreenletTCPServer,
    TCPServer,
    ThreadingMixIn,
)
from greensock.testing import running

from .clients import answer_of, ask, clients, connect, eventually, receive_all, receive_line
from .separate_process import HERE, LIBUV, NATIVE_THREADS, PATCHED, PATCHED_LIBUV, UNPATCHED
from .server_kinds import (
    ANY_PORT,
    CONCURRENT,
    FORKING,
    GREENLET,
    MIXINS,
    NONE,
    THREADING,
    UDP,
    UNIX_DATAGRAM,
    UNIX_STREAM,
    ClassicEcho,
    Echo,
    make_server,
    server_class,
)

pytest_plugins = ["tests.alone"]

everywhere = pytest.mark.parametrize("mode", [HERE, PATCHED, NATIVE_THREADS, LIBUV, PATCHED_LIBUV])
in_each_process = pytest.mark.parametrize("mode", [HERE, PATCHED, LIBUV])
under_every_mixin = pytest.mark.parametrize("mixin", MIXINS)
handlers = pytest.mark.parametrize("handler", ["Echo", "ClassicEcho"])


# Hooks


class AcceptsItself(TCPServer):
    """As programs write it who want to wrap or to log what they accept."""

    def get_request(self) -> Any:
        request, address = self.socket.accept()
        return request, address


def accept_oneself(mixin: str, handler: str) -> None:
    kind = type("Own", (AcceptsItself,), {})
    if mixin != NONE:
        mixed = {GREENLET: GreenletMixIn, THREADING: ThreadingMixIn, FORKING: ForkingMixIn}
        kind = type("Own", (mixed[mixin], AcceptsItself), {})
    with running(kind(ANY_PORT, globals()[handler])) as address:
        with connect(address) as first, connect(address) as second:
            # One at a time without a mixin, for a handler with its own handle().
            if mixin != NONE or handler == "Echo":
                assert ask(second, b"2\n") == b"2\n"
            assert ask(first, b"1\n") == b"1\n"
            assert ask(first, b"1\n") == b"1\n"
        assert answer_of(address, b"3\n") == b"3\n"


@everywhere
@under_every_mixin
@handlers
def test_get_request_may_accept_by_itself(alone, mode: str, mixin: str, handler: str) -> None:
    alone(mode, accept_oneself, mixin, handler)


class Hooked:
    """In front of a server class: notes which hooks were called, in which order."""

    called: list[str]

    def verify_request(self, request: Any, client_address: Any) -> bool:
        self.called.append("verify_request")
        return bool(super().verify_request(request, client_address))  # type: ignore[misc]

    def process_request(self, request: Any, client_address: Any) -> None:
        self.called.append("process_request")
        super().process_request(request, client_address)  # type: ignore[misc]

    def finish_request(self, request: Any, client_address: Any) -> None:
        self.called.append("finish_request")
        super().finish_request(request, client_address)  # type: ignore[misc]

    def shutdown_request(self, request: Any) -> None:
        self.called.append("shutdown_request")
        super().shutdown_request(request)  # type: ignore[misc]

    def close_request(self, request: Any) -> None:
        self.called.append("close_request")
        super().close_request(request)  # type: ignore[misc]


def call_hooks(mixin: str, handler: str) -> None:
    base = server_class(mixin)
    server = type("Server", (Hooked, base), {"called": [], "linger": 0})(
        ANY_PORT, globals()[handler]
    )
    with running(server) as address:
        assert answer_of(address, b"x\n") == b"x\n"
        if mixin == FORKING:
            eventually(lambda: server.active_children == set())
    expected = ["verify_request", "process_request", "finish_request", "shutdown_request"]
    # A child's calls are its own: the parent only lets go of its copy.
    if mixin == FORKING:
        expected = [each for each in server.called if each != "close_request"]
        assert expected[:2] == ["verify_request", "process_request"]
    assert server.called == [*expected, "close_request"]


@in_each_process
@under_every_mixin
@handlers
def test_hooks_are_called_once_a_client(alone, mode: str, mixin: str, handler: str) -> None:
    alone(mode, call_hooks, mixin, handler)


@under_every_mixin
def test_client_who_is_not_verified_is_closed(mixin: str) -> None:
    def verify_request(self: Any, request: Any, client_address: Any) -> bool:
        return request.recv(1) != b"!"

    with running(make_server(mixin, Echo, verify_request=verify_request)) as address:
        with connect(address) as refused:
            refused.sendall(b"!")
            assert receive_all(refused) == b""
        with connect(address) as welcome:
            assert ask(welcome, b".x\n") == b"x\n"


def block_in_hook(mixin: str) -> None:
    """A hook may wait as a handler may: other greenlets run meanwhile, and nobody is lost."""
    begun, go_on = threading.Event(), threading.Event()

    def verify_request(self: Any, request: Any, client_address: Any) -> bool:
        begun.set()
        while not go_on.is_set():
            gevent.sleep(0.001)
        return True

    server = make_server(mixin, Echo, verify_request=verify_request)
    with running(server) as address, clients(address, 3) as each:
        begun.wait()
        go_on.set()
        for client in each:
            assert ask(client, b"x\n") == b"x\n"


@in_each_process
@under_every_mixin
def test_hook_may_block(alone, mode: str, mixin: str) -> None:
    alone(mode, block_in_hook, mixin)


@pytest.mark.parametrize("mixin", [GREENLET, THREADING])
@handlers
def test_per_turn_hook_may_be_extended(mixin: str, handler: str) -> None:
    around: list[str] = []
    name = "process_request_greenlet" if mixin == GREENLET else "process_request_thread"
    base = server_class(mixin)

    def run(self: Any, request: Any, client_address: Any) -> None:
        around.append("before")
        try:
            getattr(base, name)(self, request, client_address)
        finally:
            around.append("after")

    server = make_server(mixin, globals()[handler], linger=0.001, **{name: run})
    with running(server) as address:
        with connect(address) as client:
            assert ask(client, b"x\n") == b"x\n"
            assert ask(client, b"y\n") == b"y\n"
        eventually(lambda: len(around) % 2 == 0)
    assert around == ["before", "after"] * (len(around) // 2)
    assert around


@under_every_mixin
def test_finish_request_may_pass_more_to_the_handler(mixin: str) -> None:
    class Greeted(Echo):
        def __init__(self, *args: Any, greeting: bytes) -> None:
            self.greeting = greeting
            super().__init__(*args)

        def handle_one_request(self) -> None:
            self.rfile.readline()
            self.wfile.write(self.greeting + b"\n")

    def finish_request(self: Any, request: Any, client_address: Any) -> None:
        self.RequestHandlerClass(request, client_address, self, greeting=b"good day")

    server = make_server(mixin, Greeted, finish_request=finish_request)
    with running(server) as address, connect(address) as client:
        assert ask(client, b"x\n") == b"good day\n"
        assert ask(client, b"x\n") == b"good day\n"


def pace_service_actions(mixin: str) -> None:
    called = threading.Event()
    count = [0]

    def service_actions(self: Any) -> None:
        count[0] += 1
        if count[0] == 5:
            called.set()
        server_class(mixin).service_actions(self)

    server = make_server(mixin, Echo, service_actions=service_actions)
    with running(server, 0.01):
        called.wait()


@in_each_process
@under_every_mixin
def test_service_actions_are_called_though_nothing_happens(alone, mode: str, mixin: str) -> None:
    alone(mode, pace_service_actions, mixin)


@under_every_mixin
def test_process_request_that_fails_is_handled(mixin: str) -> None:
    seen: list[Any] = []

    def process_request(self: Any, request: Any, client_address: Any) -> None:
        raise LookupError("no")

    def handle_error(self: Any, request: Any, client_address: Any) -> None:
        seen.append(client_address)

    server = make_server(
        mixin, Echo, process_request=process_request, handle_error=handle_error
    )
    with running(server) as address, connect(address) as client:
        assert receive_all(client) == b""
        assert seen == [client.getsockname()]


# handle_request


def handle_one_by_one(mixin: str, handler: str) -> None:
    with make_server(mixin, globals()[handler]) as server:
        for _ in range(2):
            with connect(server.server_address) as client:
                client.sendall(b"x\n")
                client.shutdown(socket.SHUT_WR)
                server.handle_request()
                assert receive_all(client) == b"x\n"


@in_each_process
@under_every_mixin
@handlers
def test_handle_request_handles_one(alone, mode: str, mixin: str, handler: str) -> None:
    alone(mode, handle_one_by_one, mixin, handler)


def time_out(mixin: str) -> None:
    timeouts: list[None] = []
    server = make_server(mixin, Echo, handle_timeout=lambda self: timeouts.append(None))
    with server:
        for timeout in (0.01, 0):
            server.timeout = timeout
            server.handle_request()
        server.timeout = 60
        server.socket.settimeout(0.01)
        server.handle_request()
    assert len(timeouts) == 3


@in_each_process
@under_every_mixin
def test_handle_request_times_out(alone, mode: str, mixin: str) -> None:
    alone(mode, time_out, mixin)


# Servers that are not quite TCPServer


class QueueServer(BaseServer):
    """Serves what is put into a queue; no descriptor says when."""

    def __init__(self, handler: Any) -> None:
        super().__init__("a queue", handler)
        self.requests: queue.Queue[Any] = queue.Queue()

    def get_request(self) -> Any:
        try:
            return self.requests.get_nowait(), "somebody"
        except queue.Empty:
            raise BlockingIOError from None


class EventServer(QueueServer):
    """The same, with a descriptor that becomes readable."""

    def __init__(self, handler: Any) -> None:
        super().__init__(handler)
        self.reader, self.writer = os.pipe()

    def fileno(self) -> int:
        return self.reader

    def get_request(self) -> Any:
        os.read(self.reader, 1)
        return super().get_request()

    def server_close(self) -> None:
        super().server_close()
        os.close(self.reader)
        os.close(self.writer)


class Answering(BaseRequestHandler):
    def handle(self) -> None:
        self.request.append("done")


MIXED: dict[str, tuple[type, ...]] = {
    NONE: (),
    GREENLET: (GreenletMixIn,),
    THREADING: (ThreadingMixIn,),
}


def serve_queue(mixin: str, base: str) -> None:
    kind: Any = type("Queued", (*MIXED[mixin], globals()[base]), {})
    server = kind(Answering)
    requests: list[list[str]] = [[], [], []]
    with running(server, 0.01):
        for request in requests:
            server.requests.put(request)
            if base == "EventServer":
                os.write(server.writer, b"x")
            eventually(lambda request=request: request == ["done"])


@in_each_process
@pytest.mark.parametrize("mixin", MIXED)
@pytest.mark.parametrize("base", ["QueueServer", "EventServer"])
def test_requests_may_come_from_a_queue(alone, mode: str, mixin: str, base: str) -> None:
    alone(mode, serve_queue, mixin, base)


def replace_socket(mixin: str) -> None:
    server = server_class(mixin)(ANY_PORT, Echo, bind_and_activate=False)
    assert server.fileno() >= 0
    server.socket.close()
    server.socket = socket.create_server(ANY_PORT)
    server.server_address = server.socket.getsockname()
    with running(server) as address, connect(address) as client:
        assert ask(client, b"x\n") == b"x\n"
        assert ask(client, b"y\n") == b"y\n"


@everywhere
@under_every_mixin
def test_socket_may_be_replaced(alone, mode: str, mixin: str) -> None:
    alone(mode, replace_socket, mixin)


def inherit_socket(mixin: str) -> None:
    original = socket.create_server(ANY_PORT)
    server = server_class(mixin)(original.getsockname(), ClassicEcho, bind_and_activate=False)
    server.socket.close()
    server.socket = socket.socket(fileno=original.detach())
    with running(server) as address:
        assert answer_of(address, b"x\n") == b"x\n"


@in_each_process
@under_every_mixin
def test_socket_may_be_inherited_by_number(alone, mode: str, mixin: str) -> None:
    alone(mode, inherit_socket, mixin)


@under_every_mixin
def test_binding_may_be_left_to_the_caller(mixin: str) -> None:
    server = server_class(mixin)(ANY_PORT, Echo, bind_and_activate=False)
    server.allow_reuse_address = True
    server.server_bind()
    server.server_activate()
    assert server.socket.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)
    with running(server):
        assert answer_of(server.server_address, b"x\n") == b"x\n"


def test_address_that_is_taken_leaves_no_socket() -> None:
    with TCPServer(ANY_PORT, Echo) as server, pytest.raises(OSError, match="in use"):
        TCPServer(server.server_address, Echo)


@pytest.mark.parametrize("mixin", MIXINS)
@pytest.mark.parametrize("handler", [Echo, ClassicEcho])
def test_unix_socket_is_served(mixin: str, handler: type, tmp_path: Any) -> None:
    path = str(tmp_path / "socket")
    with running(server_class(mixin, UNIX_STREAM)(path, handler)):
        assert answer_of(path, b"x\n") == b"x\n"
    os.unlink(path)


# Where serve_forever runs


def serve_several_in_one_thread() -> None:
    """Servers in greenlets of one thread do not keep each other waiting."""
    servers = [make_server(mixin, Echo) for mixin in MIXINS]
    answers: list[bytes] = []

    def be_client() -> None:
        with connect(servers[0].server_address) as first:
            assert ask(first, b"first\n") == b"first\n"
            for server in servers[1:]:
                answers.append(answer_of(server.server_address, b"x\n"))
            answers.append(ask(first, b"x\n"))
        for server in servers:
            server.shutdown()

    client = threading.Thread(target=be_client)
    client.start()
    serving = [gevent.spawn(server.serve_forever) for server in servers]
    gevent.joinall(serving, raise_error=True)
    client.join()
    for server in servers:
        server.server_close()
    assert answers == [b"x\n"] * 4


@pytest.mark.parametrize("mode", [UNPATCHED, PATCHED, LIBUV, PATCHED_LIBUV])
def test_one_thread_may_serve_several(alone, mode: str) -> None:
    alone(mode, serve_several_in_one_thread)


def serve_in_main_thread(mixin: str, handler: str) -> None:
    server = make_server(mixin, globals()[handler])
    answers: list[bytes] = []

    def be_client() -> None:
        try:
            for line in (b"1\n", b"2\n"):
                answers.append(answer_of(server.server_address, line))
        finally:
            server.shutdown()

    client = threading.Thread(target=be_client)
    client.start()
    with server:
        server.serve_forever()
    client.join()
    assert answers == [b"1\n", b"2\n"]


@pytest.mark.parametrize("mode", [UNPATCHED, PATCHED, NATIVE_THREADS, LIBUV, PATCHED_LIBUV])
@under_every_mixin
@handlers
def test_main_thread_may_serve(alone, mode: str, mixin: str, handler: str) -> None:
    alone(mode, serve_in_main_thread, mixin, handler)


def run_beside_others(mixin: str) -> None:
    """Other greenlets of the serving thread run, whatever the server waits for."""
    answers: list[int] = []

    class Beside(server_class(mixin)):  # type: ignore[misc]
        def serve_forever(self, poll_interval: float = 0.5) -> None:
            def tick() -> None:
                for number in range(5):
                    gevent.sleep(0.001)
                    answers.append(number)
                self.shutdown()

            gevent.spawn(tick)
            super().serve_forever(poll_interval)
            if threading.get_native_id() != os.getpid():
                get_hub().destroy(destroy_loop=True)

    server = Beside(ANY_PORT, Echo)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    thread.join()
    server.server_close()
    assert answers == [0, 1, 2, 3, 4]


@in_each_process
@under_every_mixin
def test_other_greenlets_run_while_a_server_waits(alone, mode: str, mixin: str) -> None:
    alone(mode, run_beside_others, mixin)


class TakesTime(Echo):
    """Computes without end, and yields as one should."""

    stop = False
    computed = 0

    def handle_one_request(self) -> None:
        cls = type(self)
        self.rfile.readline()
        self.wfile.write(b"begun\n")
        while not cls.stop:
            for _ in range(10_000):
                cls.computed += 1
            gevent.sleep(0.0001)


def compute_beside_echo() -> None:
    class Both(Echo):
        def handle_one_request(self) -> None:
            kind = TakesTime if self.rfile.peek(1)[:1] == b"!" else Echo
            kind.handle_one_request(self)

    Both.stop = False  # type: ignore[attr-defined]
    Both.computed = 0  # type: ignore[attr-defined]
    with running(make_server(GREENLET, Both)) as address:
        with connect(address) as busy, connect(address) as client:
            assert ask(busy, b"!\n") == b"begun\n"
            for _ in range(50):
                assert ask(client, b"x\n") == b"x\n"
            assert Both.computed > 0  # type: ignore[attr-defined]
            Both.stop = True  # type: ignore[attr-defined]


@in_each_process
def test_computation_that_yields_keeps_nobody_waiting(alone, mode: str) -> None:
    alone(mode, compute_beside_echo)


# Datagrams


class EchoDatagram(DatagramRequestHandler):
    def handle(self) -> None:
        self.wfile.write(self.rfile.read())


def echo_datagrams(mixin: str, count: int) -> None:
    server = server_class(mixin, UDP)(ANY_PORT, EchoDatagram)
    was_blocking = os.get_blocking(server.fileno())
    modes = set()
    received: set[bytes] = set()
    with running(server) as address, socket.socket(type=socket.SOCK_DGRAM) as client:
        client.settimeout(20)
        client.connect(address)
        for first in range(0, count, 50):
            # Fewer at once than the kernel's buffers hold, so that none is lost.
            for number in range(first, first + 50):
                client.send(b"%d" % number)
            received.update(client.recv(100) for _ in range(50))
            modes.add(os.get_blocking(server.fileno()))
        client.send(b"")
        assert client.recv(100) == b""
    assert received == {b"%d" % number for number in range(count)}
    assert modes == {was_blocking}


@everywhere
@under_every_mixin
def test_every_datagram_is_answered(alone, mode: str, mixin: str) -> None:
    # A child for each costs 2 ms.
    alone(mode, echo_datagrams, mixin, 100 if mixin == FORKING else 1000)


def answer_one_who_does_not_read(mixin: str, folder: str) -> None:
    """A Unix client whose queue is full blocks its own handlers only."""
    path = f"{folder}/server-{mixin}-{os.getpid()}"
    server = server_class(mixin, UNIX_DATAGRAM)(path, EchoDatagram)
    names = [f"{path}-{name}" for name in ("deaf", "client")]
    deaf, client = (socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(2))
    with running(server), deaf, client:
        deaf.bind(names[0])
        client.bind(names[1])
        client.settimeout(20)
        backlog = 100
        for _ in range(backlog):
            deaf.sendto(b"x", path)
        client.sendto(b"y", path)
        assert client.recv(10) == b"y"
        for _ in range(backlog):
            assert deaf.recv(10) == b"x"
    for name in (path, *names):
        os.unlink(name)


@in_each_process
@pytest.mark.parametrize("mixin", [GREENLET, THREADING])
def test_datagram_client_who_does_not_read_blocks_itself(
    alone, mode: str, mixin: str, tmp_path: Any
) -> None:
    alone(mode, answer_one_who_does_not_read, mixin, str(tmp_path))


# Requests, as handlers see them


class Describing(Echo):
    """What programs ask of their request."""

    def handle_one_request(self) -> None:
        self.rfile.readline()
        request = self.request
        facts = [
            isinstance(request, socket.socket),
            request.family == socket.AF_INET,
            request.getpeername() == self.client_address,
            request.gettimeout() is None,
            bool(request.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)),
            bool(select.select([request], [request], [], 0)[1]),
        ]
        self.wfile.write(repr(facts).encode() + b"\n")


class ClassicDescribing(ClassicEcho):
    def handle(self) -> None:
        Describing.handle_one_request(self)  # type: ignore[arg-type]


def describe_request(mixin: str, handler: str) -> None:
    with running(make_server(mixin, globals()[handler])) as address:
        assert answer_of(address, b"?\n") == repr([True] * 6).encode() + b"\n"


@everywhere
@under_every_mixin
@pytest.mark.parametrize("handler", ["Describing", "ClassicDescribing"])
def test_request_is_a_socket(alone, mode: str, mixin: str, handler: str) -> None:
    alone(mode, describe_request, mixin, handler)


class Bulk(ClassicEcho):
    """Receives and sends much more than the kernel buffers, with a timeout and without."""

    size: ClassVar[int] = 3_000_000

    def handle(self) -> None:
        for timeout in (None, 20):
            self.request.settimeout(timeout)
            data = b""
            while len(data) < self.size:
                data += self.request.recv(self.size)
            self.request.sendall(data)


def send_much(mixin: str) -> None:
    data = os.urandom(Bulk.size)
    with running(make_server(mixin, Bulk)) as address, connect(address) as client:
        for _ in range(2):
            client.sendall(data)
            received = bytearray()
            while len(received) < len(data):
                received += client.recv(1 << 20)
            assert bytes(received) == data


@everywhere
@under_every_mixin
def test_much_data_passes_whole(alone, mode: str, mixin: str) -> None:
    alone(mode, send_much, mixin)


class TimesOut(ClassicEcho):
    timeout = 0.02

    def handle(self) -> None:
        try:
            self.rfile.readline()
        except TimeoutError:
            self.wfile.write(b"too late\n")


def let_handler_time_out(mixin: str) -> None:
    with running(make_server(mixin, TimesOut)) as address, connect(address) as client:
        assert receive_line(client) == b"too late\n"


@everywhere
@under_every_mixin
def test_timeout_of_a_handler_is_its_requests(alone, mode: str, mixin: str) -> None:
    alone(mode, let_handler_time_out, mixin)


def ask_many_times(mixin: str) -> None:
    """Threads that touch sockets leave no descriptors, and make no hub."""
    import gc

    from gevent.hub import Hub

    with running(make_server(mixin, ClassicEcho)) as address:
        assert answer_of(address, b"x\n") == b"x\n"
        before = set(os.listdir("/proc/self/fd"))
        for _ in range(200):
            assert answer_of(address, b"x\n") == b"x\n"
        eventually(lambda: len(os.listdir("/proc/self/fd")) == len(before))
        hubs = [each for each in gc.get_objects() if type(each) is Hub]
        assert len(hubs) <= 1


@in_each_process
@pytest.mark.parametrize("mixin", CONCURRENT)
def test_requests_leave_no_descriptors_and_no_hubs(alone, mode: str, mixin: str) -> None:
    alone(mode, ask_many_times, mixin)


def reset_before_accept(mixin: str) -> None:
    server = make_server(mixin, Echo)
    client = connect(server.server_address)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    with running(server) as address:
        assert answer_of(address, b"x\n") == b"x\n"
        eventually(lambda: server.stats().open == server.stats().parked)
        assert server.stats().errors == 0


@in_each_process
@under_every_mixin
def test_client_who_is_gone_before_accept_is_no_error(alone, mode: str, mixin: str) -> None:
    alone(mode, reset_before_accept, mixin)


def count_clients() -> None:
    server = GreenletTCPServer(ANY_PORT, Echo)
    with running(server) as address:
        with clients(address, 3) as each:
            for client in each:
                assert ask(client, b"x\n") == b"x\n"
            eventually(lambda: server.stats().parked == 3)
            assert server.stats().accepted == 3
            assert server.stats().open == 3
        eventually(lambda: server.stats().open == 0)
        assert server.stats().accepted == 3
        assert server.stats().disconnects == 0


def test_stats_count_clients(alone) -> None:
    alone(HERE, count_clients)
