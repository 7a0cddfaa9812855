"""What a handler may raise, and what becomes of its client, its server and the next client."""

import contextlib
import threading
from typing import Any

import gevent
import pytest
from greenlet import GreenletExit

from greensock.testing import running

from ..clients import answer_of, ask, connect, eventually, receive_all
from ..separate_process import HERE, LIBUV, NATIVE_THREADS, PATCHED, UNPATCHED
from ..server_kinds import (
    FORKING,
    GREENLET,
    MIXINS,
    NONE,
    THREADING,
    ClassicEcho,
    Echo,
    make_server,
)

pytest_plugins = ["tests.alone"]

RAISED: dict[str, type[BaseException]] = {
    each.__name__: each for each in (ValueError, SystemExit, GreenletExit, KeyboardInterrupt)
}


class Raising(Echo):
    """Raises what its client names; echoes anything else."""

    def handle_one_request(self) -> None:
        line = self.rfile.readline()
        error = RAISED.get(line.decode().strip())
        if error is not None:
            raise error(f"{error.__name__}, as asked")
        self.wfile.write(line)


class ClassicRaising(ClassicEcho):
    def handle(self) -> None:
        Raising.handle_one_request(self)  # type: ignore[arg-type]


class Remembering:
    """In front of a server class: remembers the errors that the parent is told of."""

    seen: list[str]

    def handle_error(self, request: Any, client_address: Any) -> None:
        import sys

        self.seen.append(type(sys.exception()).__name__)


def remembering_server(mixin: str, handler: Any) -> Any:
    server = make_server(mixin, handler, linger=0.001, seen=[])
    kind = type(server)
    server.__class__ = type(kind.__name__, (Remembering, kind), {})
    return server


def survive(mixin: str, handler: str, name: str) -> None:
    server = remembering_server(mixin, globals()[handler])
    with running(server) as address:
        threads = threading.active_count()
        for _ in range(2):
            with connect(address) as client:
                client.sendall(f"{name}\n".encode())
                assert receive_all(client) == b""
            # A thread's traceback is printed after its client is closed: one at a time.
            eventually(lambda: threading.active_count() <= threads)
        assert answer_of(address, b"next\n") == b"next\n"
        eventually(lambda: server.stats().open == server.stats().parked)
    expected = ["ValueError"] * 2 if name == "ValueError" and mixin != FORKING else []
    assert server.seen == expected


@pytest.mark.parametrize("mode", [UNPATCHED, PATCHED, NATIVE_THREADS, LIBUV])
@pytest.mark.parametrize("handler", ["Raising", "ClassicRaising"])
@pytest.mark.parametrize("name", ["ValueError", "SystemExit", "GreenletExit"])
@pytest.mark.parametrize("mixin", [GREENLET, THREADING, FORKING])
# A child's error, and what ends a native thread without being one.
@pytest.mark.expect_warnings("^Exception (occurred|in thread)", always=False)
def test_exception_of_a_handler_ends_its_client_only(
    alone, mode: str, mixin: str, handler: str, name: str
) -> None:
    alone(mode, survive, mixin, handler, name)


@pytest.mark.parametrize("mode", [HERE, PATCHED, LIBUV])
@pytest.mark.parametrize("handler", ["Raising", "ClassicRaising"])
def test_error_under_no_mixin_ends_its_client_only(alone, mode: str, handler: str) -> None:
    alone(mode, survive, NONE, handler, "ValueError")


def leave_serve_forever(mixin: str, handler: str, name: str) -> None:
    server = remembering_server(mixin, globals()[handler])
    left: list[bytes] = []

    def be_client() -> None:
        with connect(server.server_address) as client:
            client.sendall(f"{name}\n".encode())
            left.append(receive_all(client))

    thread = threading.Thread(target=be_client)
    thread.start()
    with pytest.raises(RAISED[name]):
        server.serve_forever()
    thread.join()
    assert left == [b""]
    # The server is as it was: the next run serves.
    with running(server) as address:
        assert answer_of(address, b"next\n") == b"next\n"
    assert server.seen == []


@pytest.mark.parametrize("mode", [UNPATCHED, PATCHED, LIBUV])
@pytest.mark.parametrize("handler", ["Raising", "ClassicRaising"])
@pytest.mark.parametrize(
    ("mixin", "name"),
    [
        (NONE, "KeyboardInterrupt"),
        (NONE, "SystemExit"),
        (NONE, "GreenletExit"),
        (GREENLET, "KeyboardInterrupt"),
    ],
)
@pytest.mark.expect_warnings("KeyboardInterrupt", always=False)  # gevent's, of a callback
def test_what_is_no_error_leaves_serve_forever(
    alone, mode: str, mixin: str, handler: str, name: str
) -> None:
    alone(mode, leave_serve_forever, mixin, handler, name)


@pytest.mark.parametrize("handler", [Raising])
@pytest.mark.parametrize("mixin", [NONE, GREENLET, THREADING])
def test_error_in_a_later_turn_finishes_the_handler(mixin: str, handler: type) -> None:
    finished = threading.Event()

    class Finishing(Raising):
        def finish(self) -> None:
            super().finish()
            finished.set()

    server = remembering_server(mixin, Finishing)
    with running(server) as address, connect(address) as client:
        assert ask(client, b"x\n") == b"x\n"
        client.sendall(b"ValueError\n")
        assert receive_all(client) == b""
        eventually(finished.is_set)
        eventually(lambda: server.stats().open == 0)
    assert server.seen == ["ValueError"]


@pytest.mark.parametrize("mixin", MIXINS)
def test_error_in_setup_ends_the_client_without_finish(mixin: str) -> None:
    class Failing(Echo):
        def setup(self) -> None:
            raise LookupError("in setup")

        def finish(self) -> None:
            raise AssertionError("finish() must not run")

    server = remembering_server(mixin, Failing)
    with running(server) as address:
        for _ in range(2):
            with connect(address) as client:
                client.sendall(b"x\n")
                # Bytes that nobody has read make the kernel reset the connection.
                with contextlib.suppress(ConnectionResetError):
                    assert receive_all(client) == b""
        eventually(lambda: server.stats().open == 0)
    assert set(server.seen) == (set() if mixin == FORKING else {"LookupError"})


@pytest.mark.parametrize("mixin", [NONE, GREENLET])
def test_handlers_error_is_printed_with_its_traceback(mixin: str, capfd: Any) -> None:
    with running(make_server(mixin, Raising)) as address, connect(address) as client:
        client.sendall(b"ValueError\n")
        assert receive_all(client) == b""
    printed = capfd.readouterr().err
    assert "Exception occurred during processing of request from ('127.0.0.1'" in printed
    assert "ValueError: ValueError, as asked" in printed


@pytest.mark.parametrize("mixin", [NONE, GREENLET, THREADING])
def test_client_who_goes_away_amid_its_answer_is_no_error(mixin: str, capfd: Any) -> None:
    class Writing(Echo):
        def handle_one_request(self) -> None:
            self.rfile.readline()
            while True:
                self.wfile.write(b"x" * 65536)

    server = make_server(mixin, Writing)
    with running(server) as address:
        with connect(address) as client:
            client.sendall(b"x\n")
            client.recv(1)
        eventually(lambda: server.stats().open == 0)
    assert server.stats().disconnects == 1
    assert server.stats().errors == 0
    assert capfd.readouterr().err == ""


def fail_to_answer() -> None:
    """A greenlet that is killed from outside while it serves: its client is closed."""
    workers: list[Any] = []

    class Killed(Echo):
        def handle_one_request(self) -> None:
            self.rfile.readline()
            workers.append(gevent.getcurrent())
            gevent.sleep(60)

    class Killing(Echo):
        def handle_one_request(self) -> None:
            self.rfile.readline()
            gevent.kill(workers[0])
            self.wfile.write(b"killed\n")

    class Both(Echo):
        def handle_one_request(self) -> None:
            kind = Killing if workers else Killed
            kind.handle_one_request(self)  # type: ignore[arg-type]

    with running(make_server(GREENLET, Both)) as address, connect(address) as victim:
        victim.sendall(b"x\n")
        eventually(lambda: workers)
        assert answer_of(address, b"x\n") == b"killed\n"
        assert receive_all(victim) == b""


@pytest.mark.parametrize("mode", [HERE, PATCHED, LIBUV])
def test_killed_greenlet_closes_its_client(alone, mode: str) -> None:
    alone(mode, fail_to_answer)
