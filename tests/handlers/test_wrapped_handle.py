"""Handlers of http.server with a handle() around the one that loops."""

import functools
import http.server
import sys
from http.server import BaseHTTPRequestHandler
from typing import Any, ClassVar
from wsgiref.simple_server import WSGIRequestHandler

import pytest

from greensock.handlers.traits import is_request_wise, waits_for_data
from greensock.testing import running

from ..clients import connect, eventually, exchange, receive_all, wait_until_parked
from ..separate_process import HERE, PATCHED
from ..server_kinds import GREENLET, NONE, make_server, under_every_mixin, without_children

pytest_plugins = ["tests.alone"]

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


class Page(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    noted: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        if self.path == "/fail":
            raise LookupError("the handler's own")
        self.send_response(200)
        self.send_header("Content-Length", "4")
        self.end_headers()
        self.wfile.write(b"page")

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Logging(Page):
    def handle(self) -> None:
        self.noted.append("begin")
        try:
            super().handle()
        finally:
            self.noted.append("end")


class Careful(Page):
    """A wrapper that does nothing of its own unless there is an exception, and says so."""

    parkable = True

    def handle(self) -> None:
        try:
            super().handle()
        except (ConnectionError, TimeoutError) as error:
            self.noted.append(f"lost: {type(error).__name__}")
        except Exception as error:
            if isinstance(error, LookupError):
                self.noted.append("failed")
            else:
                raise


class TellsOfErrors(Page):
    parkable = True

    def handle(self) -> None:
        try:
            http.server.BaseHTTPRequestHandler.handle(self)
        except OSError as error:
            raise RuntimeError("out of here") from error


class Decorated(Page):
    """Its handle() bears the name, module and docstring of the one that it calls."""

    @functools.wraps(BaseHTTPRequestHandler.handle)
    def handle(self) -> None:
        self.noted.append("begin")
        super().handle()


class Assigned(Page):
    handle = functools.wraps(Page.handle)(lambda self: Page.handle(self))


class Skipping(Logging):
    """Goes round the wrapper between."""

    def handle(self) -> None:
        BaseHTTPRequestHandler.handle(self)


class Unparkable(Careful):
    parkable = False


@pytest.mark.parametrize(
    "handler",
    [Logging, Decorated, Assigned, Skipping, Unparkable, WSGIRequestHandler],
)
def test_wrapper_that_nobody_knows_is_a_handler_of_its_own(handler: type) -> None:
    assert not is_request_wise(handler)


@pytest.mark.parametrize("handler", [Page, Careful])
def test_promise_overrules_a_wrapper(handler: type) -> None:
    assert is_request_wise(handler)
    assert waits_for_data(handler)


def test_the_wrapper_of_werkzeug_is_known() -> None:
    serving = pytest.importorskip("werkzeug.serving")

    class Quiet(serving.WSGIRequestHandler):  # type: ignore[misc]
        def log(self, *args: Any) -> None:
            pass

    class Again(Quiet):
        def handle(self) -> None:
            super().handle()

    assert is_request_wise(serving.WSGIRequestHandler)
    assert is_request_wise(Quiet)
    assert not is_request_wise(Again)


def test_loop_that_a_program_has_wrapped_for_all_is_not_passed_by(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert is_request_wise(Page)
    for name in ("handle", "handle_one_request"):
        original = getattr(BaseHTTPRequestHandler, name)
        wrapper = functools.wraps(original)(lambda self, original=original: original(self))
        with monkeypatch.context() as patching:
            patching.setattr(BaseHTTPRequestHandler, name, wrapper)
            assert not is_request_wise(Page)


def test_handler_of_wsgiref_waits_for_its_request_without_a_handler() -> None:
    class Quiet(WSGIRequestHandler):
        pass

    class Greeting(WSGIRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"hello")

    assert waits_for_data(Quiet)
    assert not waits_for_data(Greeting)
    assert not waits_for_data(Logging)


def park_wrapped(mixin: str) -> None:
    server = make_server(mixin, Careful, linger=0.001)
    with running(server) as address, connect(address) as client, connect(address) as silent:
        for _ in range(3):
            exchange(client, GET, b"page")
            wait_until_parked(server, 2)
        client.sendall(GET + GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        assert receive_all(client).count(b"page") == 2
        exchange(silent, GET, b"page")


@pytest.mark.parametrize("mode", [HERE, PATCHED])
@under_every_mixin
def test_client_of_a_wrapped_handle_is_parked(alone, mode: str, mixin: str) -> None:
    alone(mode, park_wrapped, mixin)


@without_children
def test_wrapped_handle_meets_the_errors_of_a_request(mixin: str) -> None:
    Page.noted.clear()
    server = make_server(mixin, Careful, linger=0.001)
    with running(server) as address, connect(address) as client:
        exchange(client, GET, b"page")
        client.sendall(GET.replace(b"/ ", b"/fail "))
        assert receive_all(client) == b""
        eventually(lambda: server.stats().open == 0)
    assert Page.noted == ["failed"]
    assert server.stats().errors == 0


@pytest.mark.parametrize("mixin", [NONE, GREENLET])
def test_wrapped_handle_meets_the_end_of_a_parked_client(mixin: str) -> None:
    Page.noted.clear()
    server = make_server(mixin, Careful)
    with running(server) as address:
        client = connect(address)
        exchange(client, GET, b"page")
        wait_until_parked(server, 1)
        client.reset()
        eventually(lambda: server.stats().open == 0)
        assert Page.noted == ["lost: ConnectionResetError"]
        assert server.stats().disconnects == 0


@pytest.mark.parametrize("mixin", [NONE, GREENLET])
def test_what_a_wrapped_handle_raises_for_it_is_told_to_the_server(mixin: str) -> None:
    told = []

    def handle_error(self: Any, request: Any, client_address: Any) -> None:
        told.append(sys.exception())

    server = make_server(mixin, TellsOfErrors, handle_error=handle_error)
    with running(server) as address:
        client = connect(address)
        exchange(client, GET, b"page")
        wait_until_parked(server, 1)
        client.reset()
        eventually(lambda: server.stats().open == 0)
    assert [str(error) for error in told] == ["out of here"]


@without_children
@pytest.mark.parametrize("handler", [Logging, Decorated])
def test_handle_of_its_own_is_called_once_a_client(mixin: str, handler: Any) -> None:
    Page.noted.clear()
    server = make_server(mixin, handler, linger=0.001)
    with running(server) as address:
        with connect(address) as client:
            exchange(client, GET, b"page")
            exchange(client, GET, b"page")
            assert server.stats().parked == 0
        eventually(lambda: server.stats().open == 0)
    assert Page.noted == ["begin", "end"][: 1 if handler is Decorated else 2]


@without_children
def test_handle_of_its_own_is_called_once_a_request_if_it_may(mixin: str) -> None:
    class Parkable(Logging):
        parkable = True

    Page.noted.clear()
    server = make_server(mixin, Parkable, linger=0.001)
    with running(server) as address:
        with connect(address) as client:
            exchange(client, GET, b"page")
            exchange(client, GET, b"page")
            wait_until_parked(server, 1)
        eventually(lambda: server.stats().open == 0)
    assert Page.noted == ["begin", "end"] * 2


def test_wrapped_handler_is_itself_between_and_in_its_requests() -> None:
    seen: list[Any] = []

    class Looking(Careful):
        def do_GET(self) -> None:
            seen.append((type(self), self.close_connection, "handle_one_request" in vars(self)))
            super().do_GET()

    with running(make_server(GREENLET, Looking)) as address, connect(address) as client:
        exchange(client, GET, b"page")
        exchange(client, GET, b"page")
    assert seen == [(Looking, False, False)] * 2
