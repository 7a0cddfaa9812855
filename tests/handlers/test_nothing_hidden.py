"""A program's handler classes are as it wrote them, and their instances are made as it says."""

import contextlib
import functools
import http.server
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, ClassVar

import pytest

from greensock import KeepAliveRequestHandler
from greensock.testing import running

from ..clients import connect, eventually, exchange, receive_all, wait_until_parked
from ..separate_process import HERE, PATCHED
from ..server_kinds import NONE, make_server, under_every_mixin, without_children

pytest_plugins = ["tests.alone"]

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


class Page(BaseHTTPRequestHandler):
    """On the standard library's socketserver, which knows nothing of greensock."""

    protocol_version = "HTTP/1.1"
    seen: ClassVar[list[Any]] = []

    def do_GET(self) -> None:
        body = self.answer().encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def answer(self) -> str:
        return "page"

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Lines(KeepAliveRequestHandler):
    seen: ClassVar[list[Any]] = []

    def handle_one_request(self) -> None:
        while self.rfile.readline().strip():
            pass
        self.wfile.write(self.answer().encode())

    def answer(self) -> str:
        return "page"


both = pytest.mark.parametrize("base", [Page, Lines])


def ask_twice(mixin: str, handler: Any, answer: bytes = b"page", parked: bool = True) -> None:
    server = make_server(mixin, handler, linger=0.001)
    with running(server) as address:
        with connect(address) as client:
            for _ in range(2):
                exchange(client, GET, answer)
                if parked:
                    wait_until_parked(server, 1)
                else:
                    assert server.stats().parked == 0
        eventually(lambda: server.stats().open == 0)


@under_every_mixin
@both
def test_class_is_subclassed_by_nobody_else(mixin: str, base: Any) -> None:
    made: list[str] = []

    class Meta(type):
        def __init__(cls, name: str, *args: Any) -> None:
            super().__init__(name, *args)
            made.append(f"metaclass {name}")

    class Registering(base, metaclass=Meta):  # type: ignore[misc]
        parkable = True  # so that children make it anew, and park it too

        def __init_subclass__(cls, **kwargs: Any) -> None:
            super().__init_subclass__(**kwargs)
            made.append(cls.__name__)

        def answer(self) -> str:
            kinds = type(self), self.__class__
            return f"{kinds == (Registering, Registering)} {Registering.__subclasses__()} {made}"

        def handle(self) -> None:
            super().handle()

    ask_twice(mixin, Registering, b"True [] ['metaclass Registering']")
    assert made == ["metaclass Registering"]


@without_children
@both
def test_handler_has_nothing_that_the_program_has_not_set(mixin: str, base: Any) -> None:
    class Looking(base):  # type: ignore[misc]
        def note(self, where: str) -> None:
            self.seen.append((where, {"handle", "finish", "handle_one_request"} & {*vars(self)}))

        def answer(self) -> str:
            self.note("answer")
            return "page"

        def finish(self) -> None:
            self.note("finish")
            super().finish()

    Looking.seen.clear()
    ask_twice(mixin, Looking)
    assert Looking.seen == [("answer", set()), ("answer", set()), ("finish", set())]


def counting(function: Any, seen: list[str]) -> Any:
    @functools.wraps(function)
    def counted(*args: Any, **kwargs: Any) -> Any:
        seen.append("in")
        try:
            return function(*args, **kwargs)
        finally:
            seen.append("out")

    return counted


@without_children
@both
@pytest.mark.parametrize("name", ["handle", "handle_one_request", "setup", "finish", "__init__"])
def test_no_wrapper_is_passed_by(mixin: str, base: Any, name: str) -> None:
    """Round handle() it is there for all of a client, round another for each call."""
    seen: list[str] = []
    wrapped = type("Wrapped", (base,), {name: counting(getattr(base, name), seen)})
    is_parked = (
        name in ("finish", "__init__")
        or (name == "handle_one_request" and base is Lines)
        or (name == "setup" and base is Lines)
    )
    ask_twice(mixin, wrapped, parked=is_parked)
    times = 1
    if name == "handle_one_request":
        # In a loop of its own, the last one meets the end of the stream.
        times = 2 if base is Lines else 3
    assert seen == ["in", "out"] * times


@without_children
@both
def test_wrapper_on_the_instance_is_not_passed_by(mixin: str, base: Any) -> None:
    seen: list[str] = []

    class Wrapping(base):  # type: ignore[misc]
        def __init__(self, *args: Any) -> None:
            self.handle = counting(self.handle, seen)  # type: ignore[method-assign]
            super().__init__(*args)

    ask_twice(mixin, Wrapping, parked=False)
    assert seen == ["in", "out"]


def with_arguments(base: Any) -> Any:
    class WithArguments(base):  # type: ignore[misc]
        def __new__(cls, *args: Any, **kwargs: Any) -> Any:
            assert len(args) == 4
            assert kwargs == {"word": "page"}
            return super().__new__(cls)

        def __init__(self, number: int, *args: Any, word: str) -> None:
            self.word = word
            super().__init__(*args)

        def answer(self) -> str:
            return str(self.word)

    return functools.partial(functools.partial(WithArguments, 1), word="page")


def guarded(base: Any) -> Any:
    class Guarded(base):  # type: ignore[misc]
        def __setattr__(self, name: str, value: Any) -> None:
            assert name not in ("handle", "finish")
            super().__setattr__(name, value)

        def __delattr__(self, name: str) -> None:
            raise AssertionError(name)

    return Guarded


def slotted(base: Any) -> Any:
    return type("Slotted", (base,), {"__slots__": ("word",)})


def by_metaclass(base: Any) -> Any:
    def call(cls: Any, *args: Any) -> Any:
        handler = type.__call__(cls, *args)
        assert type(handler) is cls
        return handler

    return type("Meta", (type,), {"__call__": call})("ByMetaclass", (base,), {})


def by_function(base: Any) -> Any:
    made = with_arguments(base)
    return lambda *args: made(*args)


def of_another_class(base: Any) -> Any:
    class Another(base):  # type: ignore[misc]
        def __new__(cls, *args: Any) -> Any:
            return object.__new__(Chosen)

        def answer(self) -> str:
            raise AssertionError("the other class answers")

    class Chosen(Another):
        answer = base.answer

        def handle(self) -> None:
            super().handle()

    return Another


#: What makes a handler class of a base, and for which bases its clients are parked. Whoever calls a
#: metaclass's own __call__ gets no more than what comes of it.
WAYS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    each.__name__: (each, parked)
    for each, parked in (
        (with_arguments, (Page, Lines)),
        (guarded, (Page, Lines)),
        (slotted, (Page, Lines)),
        (by_metaclass, (Lines,)),
        (by_function, ()),
        (of_another_class, ()),
    )
}


@without_children
@both
@pytest.mark.parametrize("way", WAYS)
def test_handler_is_made_as_the_program_says(mixin: str, base: Any, way: str) -> None:
    make, parked = WAYS[way]
    ask_twice(mixin, make(base), parked=base in parked)


def make_in_children(name: str, way: str) -> None:
    server = make_server("forking", WAYS[way][0](globals()[name]), linger=0.001)
    with running(server) as address, connect(address) as client:
        for _ in range(2):
            exchange(client, GET, b"page")


@pytest.mark.parametrize("mode", [HERE, PATCHED])
@pytest.mark.parametrize("name", ["Page", "Lines"])
@pytest.mark.parametrize("way", WAYS)
def test_handler_is_made_as_the_program_says_in_children(
    alone, mode: str, name: str, way: str
) -> None:
    alone(mode, make_in_children, name, way)


@without_children
@both
def test_what_a_constructor_raises_leaves_nothing_behind(mixin: str, base: Any) -> None:
    told: list[Any] = []

    class Failing(base):  # type: ignore[misc]
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            self.seen.append({"handle", "finish"} & {*vars(self)})
            raise LookupError("after the constructor's work")

        def finish(self) -> None:
            self.seen.append("finished")
            super().finish()

    def handle_error(self: Any, request: Any, client_address: Any) -> None:
        told.append(client_address)

    Failing.seen.clear()
    server = make_server(mixin, Failing, handle_error=handle_error)
    with running(server) as address, connect(address) as client:
        client.sendall(GET)
        # Bytes that nobody has read make the kernel reset the connection.
        with contextlib.suppress(ConnectionResetError):
            assert receive_all(client) == b""
        eventually(lambda: server.stats().open == 0)
    assert len(told) == 1
    assert Failing.seen[-1] == "finished"


def test_folder_of_http_server_is_parked_as_it_comes(tmp_path: Path) -> None:
    class Files(http.server.SimpleHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = make_server(NONE, functools.partial(Files, directory=tmp_path))
    with running(server) as address, connect(address) as client:
        for _ in range(2):
            client.sendall(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert client.recv(4096).startswith(b"HTTP/1.1 200 ")
            wait_until_parked(server, 1)
