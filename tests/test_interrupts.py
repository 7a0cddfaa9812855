"""What a signal's handler raises ends the program, wherever it comes up; nobody else is told."""

import contextlib
import functools
import os
import signal
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any

import gevent
import pytest

from .clients import ask, connect, eventually, receive_all
from .separate_process import LIBUV, PATCHED, UNPATCHED
from .server_kinds import GREENLET, NONE, THREADING, Echo, make_server

pytest_plugins = ["tests.alone"]


class Stop(Exception):
    """What many programs raise on SIGTERM, and catch around serve_forever()."""


def stop(number: int, frame: Any) -> None:
    raise Stop


def stop_once(number: int, _: Any) -> None:
    """The next signal kills."""
    signal.signal(number, signal.SIG_DFL)
    sys.exit(3)


class Stopping:
    def stop(self, *arguments: Any) -> None:
        raise SystemExit(3)

    def __call__(self, number: int, frame: Any) -> None:
        self.stop(frame, number)


def stop_program(program: str, number: int, frame: Any) -> None:
    raise TimeoutError(program)


#: Handlers, and what leaves serve_forever of them.
STOPPERS: dict[str, tuple[Any, type[BaseException]]] = {
    "function": (stop, Stop),
    "function that is there once": (stop_once, SystemExit),
    "method": (Stopping().stop, SystemExit),
    "object": (Stopping(), SystemExit),
    "partial": (functools.partial(stop_program, "x"), TimeoutError),
    "Ctrl-C": (signal.default_int_handler, KeyboardInterrupt),
}


def be_hit() -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    for _ in range(10):
        pass


class Hit(Echo):
    """The signal lands in the method that the server names."""

    def setup(self) -> None:
        super().setup()
        self.land("setup")

    def handle_one_request(self) -> None:
        line = self.rfile.readline()
        self.land("handle_one_request")
        self.wfile.write(line)

    def finish(self) -> None:
        super().finish()
        self.land("finish")

    def land(self, place: str) -> None:
        if place == self.server.place:
            self.server.place = ""
            be_hit()


class Finalised:
    def __init__(self, land: Callable[[str], None]) -> None:
        self.land = land

    def __del__(self) -> None:
        self.land("__del__")


class HitAtEnd(Hit):
    """It lands where Python can raise nothing: what nobody refers to any more goes there."""

    def handle_one_request(self) -> None:
        line = self.rfile.readline()
        finalised = Finalised(self.land)
        reference = weakref.ref(finalised, lambda _: self.land("weak reference"))
        del finalised
        self.wfile.write(line)
        del reference


class HitWhole(Hit):
    def handle(self) -> None:
        super().handle()


class HitTwice(HitWhole):
    """And finish() fails because of it."""

    def finish(self) -> None:
        if not self.server.place:
            raise LookupError("nothing to finish")
        super().finish()


def on_connection(self: Any, state: str, request: Any, client_address: Any) -> None:
    Hit.land(self, state)  # type: ignore[arg-type]


def handle_error(self: Any, request: Any, client_address: Any) -> None:
    self.seen.append(type(sys.exception()))


def hit_server(mixin: str, handler: Any, place: str) -> Any:
    attributes = {"place": place, "seen": [], "handle_error": handle_error}
    if place in ("new", "busy", "parked", "closed"):
        attributes["on_connection"] = on_connection
    server = make_server(mixin, handler, linger=0, **attributes)
    server.server = server  # type: ignore[attr-defined]
    return server


def come_and_go(server: Any) -> None:
    with connect(server.server_address) as client, contextlib.suppress(ConnectionError):
        ask(client, b"x\n")
        if server.place == "parked":
            eventually(lambda: not server.place)
    eventually(lambda: not server.place)


def left_by(server: Any, client: Callable[[Any], None]) -> type[BaseException] | None:
    thread = threading.Thread(target=client, args=(server,))
    try:
        with server:
            thread.start()
            server.serve_forever()
    except BaseException as error:  # noqa: BLE001
        return type(error)
    finally:
        thread.join()
    return None


def land(mixin: str, handler: str, place: str) -> None:
    for name, (stopper, error) in STOPPERS.items():
        signal.signal(signal.SIGTERM, stopper)
        server = hit_server(mixin, globals()[handler], place)
        left = left_by(server, come_and_go)
        assert left is error, (name, left, server.seen)
        told = [LookupError] if handler == "HitTwice" else []
        assert server.seen == told, (name, server.seen)


PLACES = [
    *(("Hit", place) for place in ("setup", "handle_one_request", "finish")),
    *(("HitWhole", place) for place in ("setup", "handle_one_request", "finish")),
    ("HitTwice", "handle_one_request"),
    *(("HitAtEnd", place) for place in ("__del__", "weak reference")),
    *(("Hit", state) for state in ("new", "busy", "parked", "closed")),
]


@pytest.mark.parametrize(("handler", "place"), PLACES)
@pytest.mark.parametrize(
    ("mode", "mixin"),
    [
        (UNPATCHED, NONE),
        (UNPATCHED, GREENLET),
        (PATCHED, NONE),
        (PATCHED, GREENLET),
        (PATCHED, THREADING),
        (LIBUV, GREENLET),
    ],
)
def test_signal_that_lands_in_the_programs_code_ends_it(
    alone, mode: str, mixin: str, handler: str, place: str
) -> None:
    alone(mode, land, mixin, handler, place)


def land_in_hub(mixin: str, asleep: bool) -> None:
    for name, (stopper, error) in STOPPERS.items():
        for number in (signal.SIGTERM, signal.SIGALRM):
            signal.signal(number, stopper)
        server = hit_server(mixin, Echo, "nowhere")

        def hit(server: Any) -> None:
            with connect(server.server_address) as client:
                assert ask(client, b"x\n") == b"x\n"
                if asleep:
                    signal.setitimer(signal.ITIMER_REAL, 0.01)
                else:
                    hub = server._greensock.run.sleeper
                    hub.call_in_hub(lambda: hub.loop.run_callback(be_hit))
                receive_all(client)

        left = left_by(server, hit)
        assert left is error, (name, left)


@pytest.mark.parametrize("mode", [UNPATCHED, PATCHED, LIBUV])
@pytest.mark.parametrize("asleep", [True, False])
def test_signal_that_lands_in_the_hub_ends_it(alone, mode: str, asleep: bool) -> None:
    alone(mode, land_in_hub, GREENLET, asleep)


def land_beside_the_main_greenlet(mixin: str) -> None:
    """The server runs in a thread that is a greenlet; the program is in the main one."""
    for name, (stopper, error) in STOPPERS.items():
        signal.signal(signal.SIGTERM, stopper)
        with hit_server(mixin, Hit, "handle_one_request") as server:
            serving = threading.Thread(target=server.serve_forever)
            serving.start()
            client = threading.Thread(target=come_and_go, args=(server,))
            client.start()
            with pytest.raises(error):
                gevent.sleep(20)
            client.join()
            assert server.seen == [], name
            server.shutdown()
            serving.join()


@pytest.mark.parametrize("mixin", [NONE, GREENLET, THREADING])
def test_signal_reaches_the_main_greenlet(alone, mixin: str) -> None:
    alone(PATCHED, land_beside_the_main_greenlet, mixin)


def call_stopper_directly(mixin: str) -> None:
    """Called by a request handler, a signal's handler is a function like others."""

    class Calling(Echo):
        def handle_one_request(self) -> None:
            if self.rfile.readline() == b"stop\n":
                stop(signal.SIGTERM, None)
            self.wfile.write(b"on\n")

    signal.signal(signal.SIGTERM, stop)
    server = hit_server(mixin, Calling, "nowhere")

    def call(server: Any) -> None:
        with connect(server.server_address) as client:
            client.sendall(b"stop\n")
            receive_all(client)
        with connect(server.server_address) as client:
            assert ask(client, b"x\n") == b"on\n"
        server.shutdown()

    assert left_by(server, call) is None
    assert server.seen == [Stop]


@pytest.mark.parametrize("mode", [UNPATCHED, PATCHED])
@pytest.mark.parametrize("mixin", [NONE, GREENLET, THREADING])
def test_function_that_handles_a_signal_may_be_called_otherwise(
    alone, mode: str, mixin: str
) -> None:
    alone(mode, call_stopper_directly, mixin)
