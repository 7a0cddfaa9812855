"""`shutdown()` from everywhere, each in a process of its own that is killed if it gets stuck.

The standard library's deadlocks from a handler of a server without a mixin, from a signal handler
of the serving thread, and where `serve_forever` was never called.
"""

import _thread
import signal
import socket
import threading
from collections.abc import Callable
from typing import Any

import gevent
import gevent.event
import gevent.socket
import pytest
from gevent import monkey
from gevent._hub_local import get_hub_if_exists

from greensock import BaseServer, TCPServer
from greensock.testing import running

from ..clients import answer_of, connect, receive_line, wait_until_parked
from ..separate_process import HERE, LIBUV, PATCHED, PATCHED_LIBUV, UNPATCHED
from ..server_kinds import (
    ANY_PORT,
    CONCURRENT,
    FORKING,
    GREENLET,
    ClassicEcho,
    Echo,
    in_every_mode,
    make_server,
    under_every_mixin,
)

pytest_plugins = ["tests.alone"]


def native_thread(function: Callable[..., Any], *arguments: Any) -> None:
    """Start a native thread, patched process or not."""
    start: Any = monkey.get_original("_thread", "start_new_thread")
    start(function, arguments)


class Hooked(TCPServer):
    """Stops itself from within a hook, which runs in the serving greenlet."""

    from_hook = ""

    def service_actions(self) -> None:
        if self.from_hook == "service_actions":
            self.shutdown()

    def verify_request(self, request: Any, client_address: Any) -> bool:
        if self.from_hook == "verify_request":
            self.shutdown()
        return True


def by_native_thread(server: Hooked) -> None:
    native_thread(server.shutdown)


def by_greenlet(server: Hooked) -> None:
    gevent.spawn(server.shutdown)


def by_hub_callback(server: Hooked) -> None:
    gevent.get_hub().loop.run_callback(server.shutdown)


def by_timer(server: Hooked) -> None:
    timer = gevent.get_hub().loop.timer(0.02)
    timer.start(server.shutdown)


def by_signal_handler(server: Hooked) -> None:
    """While the server waits in the hub: the handler runs there, where nothing may block."""
    signal.signal(signal.SIGALRM, lambda *_: server.shutdown())
    signal.setitimer(signal.ITIMER_REAL, 0.05)


def by_gevent_signal_handler(server: Hooked) -> None:
    gevent.signal_handler(signal.SIGALRM, server.shutdown)
    signal.setitimer(signal.ITIMER_REAL, 0.05)


def by_signal_handler_amid_python(server: Hooked) -> None:
    """While a greenlet of the serving thread runs: the handler interrupts that one."""
    signal.signal(signal.SIGALRM, lambda *_: server.shutdown())

    def send() -> None:
        signal.raise_signal(signal.SIGALRM)

    gevent.spawn(send)


def by_service_actions(server: Hooked) -> None:
    server.from_hook = "service_actions"


def by_verify_request(server: Hooked) -> None:
    server.from_hook = "verify_request"
    gevent.spawn(connect_and_leave, server.server_address)


def connect_and_leave(address: Any) -> None:
    connect(address).close()


WAYS = [
    by_native_thread,
    by_greenlet,
    by_hub_callback,
    by_timer,
    by_signal_handler,
    by_gevent_signal_handler,
    by_signal_handler_amid_python,
    by_service_actions,
    by_verify_request,
]


def serve_until_stopped(way: str) -> None:
    with Hooked(ANY_PORT, Echo) as server:
        globals()[way](server)
        server.serve_forever(0.01)
        server.from_hook = ""
        # Nothing of the request is left over: the next run serves.
        server.shutdown()
    with Hooked(ANY_PORT, Echo) as server, running(server) as address:
        assert answer_of(address, b"still alive\n") == b"still alive\n"


@in_every_mode
@pytest.mark.parametrize("way", [way.__name__ for way in WAYS])
def test_shutdown_ends_a_server_in_the_main_thread(alone, mode: str, way: str) -> None:
    alone(mode, serve_until_stopped, way)


class Stopping(Echo):
    """Answers only after its shutdown() has returned."""

    def handle_one_request(self) -> None:
        self.rfile.readline()
        self.server.shutdown()
        self.wfile.write(b"returned\n")


class ClassicStopping(ClassicEcho):
    def handle(self) -> None:
        self.rfile.readline()
        self.server.shutdown()
        self.wfile.write(b"returned\n")


def stop_from_handler(mixin: str, handler: str) -> None:
    server = make_server(mixin, globals()[handler])
    answers = []

    def be_client() -> None:
        answers.append(answer_of(server.server_address, b"stop\n"))
        if mixin == FORKING:
            # A child's shutdown() returns at once and changes nothing here.
            answers.append(answer_of(server.server_address, b"stop\n"))
            server.shutdown()

    client = threading.Thread(target=be_client)
    client.start()
    with server:
        server.serve_forever()
    client.join()
    assert set(answers) == {b"returned\n"}


@in_every_mode
@pytest.mark.parametrize("handler", ["Stopping", "ClassicStopping"])
@under_every_mixin
def test_handler_may_shut_its_server_down(alone, mode: str, mixin: str, handler: str) -> None:
    alone(mode, stop_from_handler, mixin, handler)


def shut_down_before_serving() -> None:
    with TCPServer(ANY_PORT, Echo) as server:
        server.shutdown()
        server.shutdown()
        server.serve_forever()
        with running(server):
            # The request above was for one run only.
            assert answer_of(server.server_address, b"x\n") == b"x\n"


@pytest.mark.parametrize("mode", [HERE, UNPATCHED, PATCHED, LIBUV])
def test_shutdown_before_serve_forever_ends_it_as_it_begins(alone, mode: str) -> None:
    alone(mode, shut_down_before_serving)


def shut_down_twice() -> None:
    server = TCPServer(ANY_PORT, Echo)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    assert answer_of(server.server_address, b"x\n") == b"x\n"
    stoppers = [threading.Thread(target=server.shutdown) for _ in range(5)]
    for stopper in stoppers:
        stopper.start()
    for stopper in stoppers:
        stopper.join()
    thread.join()
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("mode", [HERE, PATCHED, LIBUV, PATCHED_LIBUV])
def test_many_may_shut_down_at_once_and_again_afterwards(alone, mode: str) -> None:
    alone(mode, shut_down_twice)


def race(times: int) -> None:
    for _ in range(times):
        with TCPServer(ANY_PORT, Echo) as server:
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("mode", [HERE, UNPATCHED, PATCHED, LIBUV, PATCHED_LIBUV])
def test_shutdown_at_once_after_the_start_never_deadlocks(alone, mode: str) -> None:
    alone(mode, race, 200)


def leave_caller_without_hub() -> None:
    server = TCPServer(ANY_PORT, Echo)
    _thread.start_new_thread(server.serve_forever, ())
    with socket.create_connection(server.server_address) as client:
        client.sendall(b"x\n")
        assert client.recv(10) == b"x\n"
    server.shutdown()
    assert get_hub_if_exists() is None
    server.server_close()
    assert get_hub_if_exists() is None


@pytest.mark.parametrize("mode", [UNPATCHED, LIBUV])
def test_shutdown_makes_no_hub_for_its_caller(alone, mode: str) -> None:
    alone(mode, leave_caller_without_hub)


def serve_in_native_thread_of_patched_process() -> None:
    server = make_server(GREENLET, Echo)
    ended = gevent.get_hub().loop.async_()
    waiter = gevent.event.Event()
    ended.start(waiter.set)

    def serve() -> None:
        server.serve_forever()
        ended.send()

    native_thread(serve)
    assert answer_of(server.server_address, b"x\n") == b"x\n"
    server.shutdown()
    waiter.wait()
    server.server_close()


@pytest.mark.parametrize("mode", [PATCHED, PATCHED_LIBUV])
def test_patched_process_may_serve_in_a_native_thread(alone, mode: str) -> None:
    alone(mode, serve_in_native_thread_of_patched_process)


def interrupt(mixin: str) -> None:
    server = make_server(mixin, Echo)
    client = connect(server.server_address)
    signal.signal(signal.SIGALRM, signal.default_int_handler)

    def set_alarm() -> None:
        # Amid its accept, it would cost the client its connection.
        wait_until_parked(server, 1)
        signal.setitimer(signal.ITIMER_REAL, 0.05)

    thread = threading.Thread(target=set_alarm)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        server.serve_forever()
    thread.join()
    with client, running(server):
        client.sendall(b"still there\n")
        assert receive_line(client) == b"still there\n"


@in_every_mode
@under_every_mixin
@pytest.mark.expect_warnings("KeyboardInterrupt", always=False)  # gevent's, of a callback
def test_ctrl_c_leaves_serve_forever_and_the_server_can_go_on(alone, mode: str, mixin: str) -> None:
    alone(mode, interrupt, mixin)


class Blocking(ClassicEcho):
    """Waits for its client, and notes that its `finally` ran."""

    ended: list[str]

    def handle(self) -> None:
        try:
            self.wfile.write(b"begun\n")
            self.rfile.readline()
        finally:
            self.ended.append(threading.current_thread().name)


def leave_a_handler_blocked(block_on_close: bool) -> None:
    Blocking.ended = []
    server = make_server(GREENLET, Blocking, block_on_close=block_on_close)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    with connect(server.server_address) as client:
        assert receive_line(client) == b"begun\n"
        server.shutdown()
        if block_on_close:
            assert not Blocking.ended
            client.shutdown(socket.SHUT_WR)
        thread.join()
        assert len(Blocking.ended) == 1
    server.server_close()


@pytest.mark.parametrize("mode", [HERE, UNPATCHED, LIBUV])
@pytest.mark.parametrize("block_on_close", [True, False])
def test_blocked_greenlets_end_properly_with_the_thread(
    alone, mode: str, block_on_close: bool
) -> None:
    """Greenlets of a thread that ends vanish otherwise, without their `finally`."""
    alone(mode, leave_a_handler_blocked, block_on_close)


def stop_from_subclass_of_base_server() -> None:
    """The server serves nothing at all: neither fileno nor get_request have to be there."""
    server: Any = BaseServer(None, None)
    server.shutdown()
    server.serve_forever()


def test_base_server_alone_can_be_shut_down(alone) -> None:
    alone(UNPATCHED, stop_from_subclass_of_base_server)


def stop_with_clients(mixin: str) -> None:
    server = make_server(mixin, Echo)
    with running(server) as address, connect(address) as first, connect(address) as second:
        first.sendall(b"1\n")
        assert receive_line(first) == b"1\n"
        server.shutdown()
        second.sendall(b"2\n")
        # Closed by the block's end, which ends the parked clients.


@pytest.mark.parametrize("mode", [HERE, PATCHED, LIBUV])
@pytest.mark.parametrize("mixin", CONCURRENT)
def test_server_closes_with_clients_parked_and_ready(alone, mode: str, mixin: str) -> None:
    alone(mode, stop_with_clients, mixin)


class InTwoParts(Echo):
    """Waits amid its request."""

    def handle_one_request(self) -> None:
        self.wfile.write(self.rfile.read(1))
        self.wfile.write(self.rfile.readline())


def stop_amid_request(mixin: str) -> None:
    server = make_server(mixin, InTwoParts)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    with connect(server.server_address) as client:
        client.sendall(b"h")
        assert client.recv(1) == b"h"
        server.shutdown()
        client.sendall(b"ello\n")
        assert receive_line(client) == b"ello\n"
    thread.join()
    server.server_close()


@pytest.mark.parametrize("mode", [UNPATCHED, PATCHED, LIBUV, PATCHED_LIBUV])
@pytest.mark.parametrize("mixin", CONCURRENT)
def test_handler_amid_a_request_is_not_stranded_by_shutdown(alone, mode: str, mixin: str) -> None:
    alone(mode, stop_amid_request, mixin)
