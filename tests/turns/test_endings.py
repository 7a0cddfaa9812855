"""Whatever the program raises, wherever it is called: only its owner ends the server.

Each hook at each moment, each kind of error, under each mixin. Where socketserver calls the hook
too, what becomes of the server is what becomes of it there.
"""

import contextlib
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from greenlet import GreenletExit

from greensock import KeepAliveRequestHandler

from ..clients import answer_of, ask, connect, eventually, receive_all
from ..separate_process import PATCHED, UNPATCHED
from ..server_kinds import FORKING, GREENLET, MIXINS, NONE, make_server

pytest_plugins = ["tests.alone"]


class BareError(BaseException):
    """What ends a thread, and is neither an Exception nor asked for."""


ERRORS = (ValueError, OSError, SystemExit, GreenletExit, KeyboardInterrupt, BareError)
# Where the others take the same way.
SOME_ERRORS = (ValueError, SystemExit, KeyboardInterrupt)


class Trap:
    """Raises once, where it is laid."""

    def __init__(self, place: str, error: type[BaseException]) -> None:
        self.place: str | None = place
        self.error = error

    def step_on(self, place: str) -> None:
        if place == self.place:
            self.place = None
            raise self.error(f"in {place}")


class Treading(KeepAliveRequestHandler):
    """Echoes; steps on its server's trap in each of its methods."""

    # Under ForkingMixIn, a setup() of its own would keep its child.
    parkable = True

    def __init__(self, request: Any, client_address: Any, server: Any) -> None:
        server.trap.step_on("__init__")
        super().__init__(request, client_address, server)

    def setup(self) -> None:
        super().setup()
        self.server.trap.step_on("setup")

    def handle_one_request(self) -> None:
        line = self.rfile.readline()
        if line == b"fail\n":
            raise LookupError("as asked")
        if line == b"trap\n":
            self.server.trap.step_on("handle")
        self.wfile.write(line)

    def finish(self) -> None:
        super().finish()
        self.server.trap.step_on("finish")


class Whole(Treading):
    """Keeps what it runs in."""

    def handle(self) -> None:
        super().handle()


def stepping(place: str, base: Any) -> Any:
    """A method that steps on the trap, and does then what that of `base` does."""
    hook = getattr(base, place)

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        self.trap.step_on(place)
        return hook(self, *args, **kwargs)

    return method


def handle_error(self: Any, request: Any, client_address: Any) -> None:
    import sys

    self.seen.append(type(sys.exception()))
    self.trap.step_on("handle_error")


def on_connection(self: Any, state: str, request: Any, client_address: Any) -> None:
    self.trap.step_on(f"on_connection {state}")


def on_drain(self: Any, handler: Any) -> None:
    self.trap.step_on("on_drain")


def step_and_stay(address: Any, server: Any) -> None:
    """A client who speaks, speaks again, maybe from the lot, and goes."""
    with connect(address) as client, contextlib.suppress(ConnectionError):
        if ask(client, b"x\n"):
            ask(client, b"trap\n")


def be_parked(address: Any, server: Any) -> None:
    with connect(address) as client, contextlib.suppress(ConnectionError):
        ask(client, b"x\n")
        eventually(lambda: server.trap.place is None or not server.stats().uptime)


def be_gone(address: Any, server: Any) -> None:
    step_and_stay(address, server)
    eventually(lambda: server.trap.place is None)


def fail(address: Any, server: Any) -> None:
    with connect(address) as client, contextlib.suppress(ConnectionError):
        client.sendall(b"fail\n")
        receive_all(client)


def fall_silent(address: Any, server: Any) -> None:
    with connect(address) as client, contextlib.suppress(ConnectionError):
        ask(client, b"x\n")
        receive_all(client)


def be_too_many(address: Any, server: Any) -> None:
    with connect(address) as first, contextlib.suppress(ConnectionError):
        ask(first, b"x\n")
        with connect(address) as second:
            receive_all(second)


def be_evicted(address: Any, server: Any) -> None:
    with connect(address) as first, contextlib.suppress(ConnectionError):
        ask(first, b"x\n")
        with connect(address) as second:
            ask(second, b"y\n")


class Moment(NamedTuple):
    """A hook, and what has it called."""

    place: str
    provoke: Callable[[Any, Any], None] = step_and_stay
    attributes: dict[str, Any] = {}  # noqa: RUF012 - never changed
    #: Where it is called: "turn" (where turns run), "serving" (by the serving greenlet, and
    #: socketserver's serve_forever would end of it), "accept" (the same, but of no Exception),
    #: "beside" (it is called for one client of many, and socketserver has no such hook).
    where: str = "turn"


MOMENTS = {
    "__init__": Moment("__init__"),
    "setup": Moment("setup"),
    "handle": Moment("handle"),
    "finish": Moment("finish"),
    "finish_request": Moment("finish_request"),
    "shutdown_request": Moment("shutdown_request"),
    "handle_error": Moment("handle_error", fail),
    "finish after idle_timeout": Moment("finish", fall_silent, {"idle_timeout": 0.05}),
    "finish at eviction": Moment("finish", be_evicted, {"max_connections": 1, "overflow": "evict"}),
    "get_request": Moment("get_request", where="serving"),
    "verify_request": Moment("verify_request", where="serving"),
    "service_actions": Moment("service_actions", where="serving"),
    "process_request": Moment("process_request", where="accept"),
    "reject_request": Moment(
        "reject_request", be_too_many, {"max_connections": 1, "overflow": "reject"}, "beside"
    ),
    **{
        f"on_connection {state}": Moment(
            f"on_connection {state}",
            {"parked": be_parked, "closed": be_gone}.get(state, step_and_stay),
            {"on_connection": on_connection},
            "beside",
        )
        for state in ("new", "busy", "parked", "closed")
    },
}

_HOOKS = ("finish_request", "shutdown_request", "get_request", "verify_request", "service_actions")


def trapped_server(mixin: str, handler: Any, place: str, error: Any, **attributes: Any) -> Any:
    server = make_server(mixin, handler, linger=0, **attributes)
    kind = type(server)
    hooks = {name: stepping(name, kind) for name in (*_HOOKS, "process_request", "reject_request")}
    # Those that are not looked for are left alone: an overridden one may be called elsewhere.
    names = {name: hook for name, hook in hooks.items() if name == place}
    names |= {"seen": [], "trap": Trap(place, error), "handle_error": handle_error}
    server.__class__ = type(kind.__name__, (kind,), names)
    return server


def serve_until_left(
    server: Any,
    provoke: Callable[[Any, Any], None],
    ask_next: Callable[[Any, bytes], bytes] = answer_of,
) -> BaseException | None:
    """Serve in this thread while a client is about; say what left serve_forever, if anything."""
    answers: list[bytes] = []
    left = None

    def be_client() -> None:
        with contextlib.suppress(OSError):
            provoke(server.server_address, server)
            eventually(lambda: left is not None or not server.stats().open)
            # A child may have stepped on its own.
            server.trap.place = None
            if left is None:
                answers.append(ask_next(server.server_address, b"next\n"))
        server.shutdown()

    thread = threading.Thread(target=be_client)
    with server:
        thread.start()
        try:
            server.serve_forever(0.01)
        except BaseException as error:  # noqa: BLE001
            left = error
        server.trap.place = None
    thread.join()
    assert left is not None or answers == [b"next\n"], answers
    return left


def leaves(mixin: str, where: str, error: type[BaseException]) -> bool:
    """Whether serve_forever is left."""
    if where == "serving":
        return True
    if where == "accept":
        return not issubclass(error, Exception)
    if error is KeyboardInterrupt and (where == "beside" or mixin == GREENLET):
        return True
    return where == "turn" and mixin == NONE and not issubclass(error, Exception)


def go_on(mixin: str, name: str) -> None:
    place, provoke, attributes, where = MOMENTS[name]
    for handler in (Treading, Whole):
        if handler is Whole and (
            "idle_timeout" in attributes
            or "eviction" in name
            or "parked" in name
            # Answered in turn, the second would wait for the first.
            or (mixin == NONE and "max_connections" in attributes)
        ):
            continue
        errors = ERRORS if name in ("handle", "finish", "get_request") else SOME_ERRORS
        for error in errors if handler is Treading else SOME_ERRORS[:2]:
            server = trapped_server(mixin, handler, place, error, **attributes)
            left = serve_until_left(server, provoke)
            told = (handler, error, left, server.seen)
            if place == "get_request" and error is OSError:
                # There was no request after all.
                assert left is None, told
                continue
            if place == "handle_error":
                expected = mixin == NONE or (error is KeyboardInterrupt and mixin == GREENLET)
                assert (left is not None) == expected, told
                assert server.seen == [LookupError] or mixin == FORKING, told
                continue
            if mixin == FORKING and where == "turn" and error is KeyboardInterrupt:
                # Where the parent makes the handler, it is the parent's.
                continue
            assert (type(left) if left else None) is (
                error if leaves(mixin, where, error) else None
            ), told
            if not issubclass(error, Exception) or where == "serving":
                assert server.seen == [], told
            elif mixin != FORKING:
                assert server.seen == [error], told


go_on.stuck_after = 90.0  # type: ignore[attr-defined]


@pytest.mark.parametrize("mode", [UNPATCHED, PATCHED])
@pytest.mark.parametrize("name", MOMENTS)
@pytest.mark.parametrize("mixin", MIXINS)
# What ends a thread or a child without being an error, and a child's own words.
@pytest.mark.expect_warnings("", always=False)
def test_only_its_owner_ends_a_server(alone, mode: str, mixin: str, name: str) -> None:
    alone(mode, go_on, mixin, name)
