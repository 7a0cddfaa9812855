"""What programs do with socketserver's classes, beside what its documentation shows.

Each is written as such a program writes it, and runs on what `patch_socketserver` gives it: under
every mixin that ThreadingMixIn can stand for, monkey-patched and not.
"""

import selectors
import socket
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from gevent import monkey

from greensock.testing import running

from .clients import ask, connect, eventually, receive_all, receive_line
from .patched_programs import ANY_PORT, FORKING, GREENLET, MIXINS, answers, patched, upper
from .separate_process import PATCHED, STUCK, UNPATCHED

pytest_plugins = ["tests.alone"]


def starts_threads_itself(mixin: str) -> None:
    """process_request() that starts threads which it names."""
    module = patched(mixin)

    class Server(module.ThreadingMixIn, module.TCPServer):  # type: ignore[misc]
        daemon_threads = True

        def process_request(self, request: Any, client_address: Any) -> None:
            thread = threading.Thread(
                target=self.process_request_thread, args=(request, client_address)
            )
            thread.name = f"client {client_address}"
            thread.daemon = self.daemon_threads
            thread.start()

    with running(Server(ANY_PORT, upper(module))) as address:
        answers(address)


def hands_to_a_pool(mixin: str) -> None:
    """process_request() that hands to a pool of threads."""
    module = patched(mixin)

    with ThreadPoolExecutor(3) as pool:

        class Server(module.ThreadingMixIn, module.TCPServer):  # type: ignore[misc]
            def process_request(self, request: Any, client_address: Any) -> None:
                pool.submit(self.process_request_thread, request, client_address)

        with running(Server(ANY_PORT, upper(module))) as address:
            answers(address)


def overrides_the_threads_work(mixin: str) -> None:
    """process_request_thread() around the request: a counter, a context."""
    module = patched(mixin)

    class Server(module.ThreadingMixIn, module.TCPServer):  # type: ignore[misc]
        busy = 0

        def process_request_thread(self, request: Any, client_address: Any) -> None:
            self.busy += 1
            try:
                super().process_request_thread(request, client_address)
            finally:
                self.busy -= 1

    class Busy(module.BaseRequestHandler):  # type: ignore[misc]
        def handle(self) -> None:
            self.request.recv(100)
            self.request.sendall(b"%d\n" % self.server.busy)

    server = Server(ANY_PORT, Busy)
    with running(server) as address, connect(address) as client:
        assert ask(client, b"?\n") == b"1\n"
        assert receive_all(client) == b""
        eventually(lambda: server.busy == 0)


def does_the_threads_work_itself(mixin: str) -> None:
    """process_request_thread() that calls nothing of the mixin's, as pynetdicom's."""
    module = patched(mixin)

    class Server(module.ThreadingMixIn, module.TCPServer):  # type: ignore[misc]
        def process_request_thread(self, request: Any, client_address: Any) -> None:
            try:
                self.finish_request(request, client_address)
            except Exception:  # noqa: BLE001
                self.handle_error(request, client_address)
            request.sendall(b"after the handler\n")
            self.shutdown_request(request)

    class Once(module.BaseRequestHandler):  # type: ignore[misc]
        def handle(self) -> None:
            self.request.sendall(self.request.recv(100))

    with running(Server(ANY_PORT, Once)) as address, connect(address) as client:
        client.sendall(b"x\n")
        assert receive_all(client) == b"x\nafter the handler\n"


def has_service_actions(mixin: str) -> None:
    module = patched(mixin)
    called = []

    class Server(module.ThreadingMixIn, module.TCPServer):  # type: ignore[misc]
        def service_actions(self) -> None:
            super().service_actions()
            called.append(1)

    with running(Server(ANY_PORT, upper(module)), poll_interval=0.01) as address:
        eventually(lambda: len(called) > 3)
        answers(address)


def accepts_itself(mixin: str) -> None:
    """get_request() that accepts, sets a timeout and wraps what it got."""
    module = patched(mixin)

    class Recorded:
        """A socket that is none: everything goes through."""

        def __init__(self, wrapped: Any) -> None:
            self.wrapped = wrapped

        def __getattr__(self, name: str) -> Any:
            return getattr(self.wrapped, name)

    class Derived(socket.socket):
        """What a program makes of the descriptor."""

        def __init__(self, wrapped: Any) -> None:
            timeout = wrapped.gettimeout()
            super().__init__(fileno=wrapped.detach())
            self.settimeout(timeout)

    wrappers: list[Any] = [lambda sock: sock, Recorded]
    if mixin != GREENLET or monkey.is_module_patched("socket"):
        # A blocking socket of the program's own blocks all greenlets.
        wrappers.append(Derived)
    for wrap in wrappers:

        class Server(module.ThreadingMixIn, module.TCPServer):  # type: ignore[misc]
            def get_request(self) -> Any:
                sock, address = self.socket.accept()
                sock.settimeout(STUCK)
                return self.wrap(sock), address

        Server.wrap = staticmethod(wrap)
        with running(Server(ANY_PORT, upper(module))) as address:
            answers(address)


def wraps_its_socket(mixin: str) -> None:
    """The recipe of the ssl module's documentation."""
    module = patched(mixin)
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(certificate())
    client_side = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client_side.check_hostname = False
    client_side.load_verify_locations(certificate())
    server = module.ThreadingTCPServer(ANY_PORT, upper(module))
    server.socket = server_side.wrap_socket(server.socket, server_side=True)
    with running(server) as address:
        for _ in range(2):
            plain = connect(address)
            with client_side.wrap_socket(plain) as client:
                assert ask(client, b"a\n") == b"A\n"
                # A child of this process has the client's end too.
                client.shutdown(socket.SHUT_RDWR)


def certificate() -> str:
    """A key and the certificate that it signed: of CPython's own tests."""
    import test

    [found] = Path(test.__file__).parent.rglob("keycert.pem")
    return str(found)


def handles_requests_one_by_one(mixin: str) -> None:
    module = patched(mixin)

    class Once(module.StreamRequestHandler):  # type: ignore[misc]
        def handle(self) -> None:
            self.wfile.write(self.rfile.readline().upper())

    class Server(module.ThreadingMixIn, module.TCPServer):  # type: ignore[misc]
        timeout = 0.01
        timeouts = 0

        def handle_timeout(self) -> None:
            self.timeouts += 1

    with Server(ANY_PORT, Once) as server:
        server.handle_request()
        assert server.timeouts == 1
        server.timeout = None
        with connect(server.server_address) as first, connect(server.server_address) as second:
            server.handle_request()
            server.handle_request()
            second.sendall(b"b\n")
            first.sendall(b"a\n")
            server.server_close()
            assert receive_all(first) == b"A\n"
            assert receive_all(second) == b"B\n"


def shuts_down_from_a_handler(mixin: str) -> None:
    module = patched(mixin)

    class Stopping(module.StreamRequestHandler):  # type: ignore[misc]
        def handle(self) -> None:
            self.wfile.write(b"good-bye\n")
            self.server.shutdown()

    with module.ThreadingTCPServer(ANY_PORT, Stopping) as server:
        client = connect(server.server_address)
        server.serve_forever()
    # Closed, it has waited for its handlers; in an unpatched process, greenlets run for that long.
    assert receive_all(client) == b"good-bye\n"
    client.close()


def looks_at_its_threads(mixin: str) -> None:
    module = patched(mixin)
    begun, told = threading.Event(), threading.Event()

    class Waiting(module.StreamRequestHandler):  # type: ignore[misc]
        def handle(self) -> None:
            begun.set()
            self.wfile.write(b"begun\n")
            self.wfile.write(self.rfile.readline())

    class Server(module.ThreadingMixIn, module.TCPServer):  # type: ignore[misc]
        pass

    server = Server(ANY_PORT, Waiting)
    assert (server.daemon_threads, server.block_on_close) == (False, True)
    with running(server) as address, connect(address) as client:
        assert receive_line(client) == b"begun\n"
        assert len(list(server._threads)) == len(server._threads)

        def wait() -> None:
            server._threads.join()
            told.set()

        waiting = threading.Thread(target=wait)
        if mixin != FORKING:
            # A child is waited for by the greenlet that serves.
            waiting.start()
            assert not told.is_set()
        client.sendall(b"end\n")
        assert receive_all(client) == b"end\n"
        if mixin != FORKING:
            waiting.join()
    server._threads = None


def does_not_wait_for_daemons(mixin: str) -> None:
    module = patched(mixin)

    class Server(module.ThreadingMixIn, module.TCPServer):  # type: ignore[misc]
        daemon_threads = True

    server = Server(ANY_PORT, upper(module))
    with running(server) as address:
        client = connect(address)
        assert ask(client, b"a\n") == b"A\n"
    # server_close() has returned while the client is still there.
    client.close()
    if mixin == FORKING:
        server.collect_children(blocking=True)


def selects_itself(mixin: str) -> None:
    """A loop of the program's own, over several servers."""
    module = patched(mixin)

    class Once(module.StreamRequestHandler):  # type: ignore[misc]
        def handle(self) -> None:
            self.wfile.write(self.server.greeting)

    with (
        module.TCPServer(ANY_PORT, Once) as first,
        module.ThreadingTCPServer(ANY_PORT, Once) as second,
        selectors.DefaultSelector() as selector,
    ):
        first.greeting, second.greeting = b"first", b"second"
        for server in (first, second):
            selector.register(server, selectors.EVENT_READ)
        clients = [connect(server.server_address) for server in (first, second)]
        served: set[Any] = set()
        while len(served) < 2:
            for key, _ in selector.select():
                key.fileobj._handle_request_noblock()
                served.add(key.fileobj)
        second.server_close()
        assert [receive_all(client) for client in clients] == [b"first", b"second"]
        for client in clients:
            client.close()


HABITS = (
    starts_threads_itself,
    hands_to_a_pool,
    overrides_the_threads_work,
    does_the_threads_work_itself,
    has_service_actions,
    accepts_itself,
    wraps_its_socket,
    handles_requests_one_by_one,
    shuts_down_from_a_handler,
    looks_at_its_threads,
    does_not_wait_for_daemons,
    selects_itself,
)

#: What of these one mixin cannot do.
IMPOSSIBLE = {
    # The shutdown of a child is the child's own.
    (FORKING, shuts_down_from_a_handler),
}


@pytest.mark.parametrize("mode", [UNPATCHED, PATCHED])
@pytest.mark.parametrize("mixin", MIXINS)
@pytest.mark.parametrize("habit", HABITS, ids=lambda habit: habit.__name__)
def test_program_keeps_its_habit(
    alone_with_nothing_imported, mode: str, mixin: str, habit: Any
) -> None:
    if (mixin, habit) in IMPOSSIBLE:
        pytest.skip("not in a child, with the standard library either")
    if habit is wraps_its_socket and find_spec("test") is None:
        pytest.skip("this interpreter comes without CPython's test package")
    alone_with_nothing_imported(mode, habit, mixin)
