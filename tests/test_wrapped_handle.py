"""Handlers of http.server with a handle() around the one that loops."""

import http.server
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler
from typing import Any, ClassVar
from wsgiref.simple_server import WSGIRequestHandler

import pytest

from greensock.handler_shape import is_request_wise, waits_for_data
from greensock.testing import running
from greensock.wrapped_handle import only_wraps

from .clients import connect, eventually, exchange, receive_all, wait_until_parked
from .separate_process import HERE, PATCHED
from .server_kinds import (
    GREENLET,
    NONE,
    make_server,
    under_every_mixin,
    without_children,
)

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


class Plain(Page):
    def handle(self) -> None:
        """Says what it does, which is nothing."""
        super().handle()


class Returning(Page):
    def handle(this) -> Any:  # type: ignore[override]
        return super().handle()


class Named(Page):
    def handle(self) -> None:
        BaseHTTPRequestHandler.handle(self)


class NamedInModule(Page):
    def handle(self) -> None:
        try:
            http.server.BaseHTTPRequestHandler.handle(self)
        except OSError as error:
            raise RuntimeError("out of here") from error


class OldStyle(Page):
    def handle(self) -> None:
        super(OldStyle, self).handle()  # noqa: UP008 - that is the shape


class Careful(Page):
    """As Werkzeug's."""

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


class TwiceWrapped(Careful):
    def handle(self) -> None:
        try:
            super().handle()
        except ValueError:
            self.noted.append((lambda: self.path)())


class Retrying(Page):
    def handle(self) -> None:
        try:
            super().handle()
        except InterruptedError:
            self.handle()


@pytest.mark.parametrize(
    "handler",
    [Page, Plain, Returning, Named, NamedInModule, OldStyle, Careful, TwiceWrapped, Retrying],
)
def test_handle_that_does_nothing_else_is_recognised(handler: type) -> None:
    assert only_wraps(handler)
    assert is_request_wise(handler)
    assert waits_for_data(handler)


class Logging(Page):
    def handle(self) -> None:
        self.noted.append("begin")
        try:
            super().handle()
        finally:
            self.noted.append("end")


class AfterwardsOnly(Page):
    def handle(self) -> None:
        super().handle()
        self.noted.append("end")


class Else(Page):
    def handle(self) -> None:
        try:
            super().handle()
        except OSError:
            pass
        else:
            self.noted.append("end")


class InContext(Page):
    def handle(self) -> None:
        with self.server.busy:
            super().handle()


class Conditional(Page):
    def handle(self) -> None:
        if self.server is not None:
            super().handle()


class Twice(Page):
    def handle(self) -> None:
        super().handle()
        super().handle()


class Skipping(Logging):
    """Goes round the wrapper between: that one is not what would be called."""

    def handle(self) -> None:
        BaseHTTPRequestHandler.handle(self)


class AboveLogging(Logging):
    def handle(self) -> None:
        super().handle()


class Another(Page):
    def handle(self) -> None:
        super().handle_one_request()


class Decorated(Page):
    @staticmethod
    def _twice(handle: Any) -> Any:
        return lambda self: (handle(self), handle(self))

    @_twice
    def handle(self) -> None:
        super().handle()


class WithDefault(Page):
    def handle(self, first: bool = True) -> None:
        super().handle()


class Shadowing(Page):
    def handle(self) -> None:
        super = lambda: self.server  # noqa: E731
        super().handle()


class Asynchronous(Page):
    async def handle(self) -> None:  # type: ignore[override]
        super().handle()


class NotHttp:
    def handle(self) -> None:
        super().handle()  # type: ignore[misc]


@pytest.mark.parametrize(
    "handler",
    [
        Logging,
        AfterwardsOnly,
        Else,
        InContext,
        Conditional,
        Twice,
        Skipping,
        AboveLogging,
        Another,
        Decorated,
        WithDefault,
        Shadowing,
        Asynchronous,
        NotHttp,
        WSGIRequestHandler,
    ],
)
def test_handle_that_might_do_more_is_not(handler: type) -> None:
    assert not only_wraps(handler)
    assert not is_request_wise(handler)


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
        import sys

        told.append(sys.exception())

    server = make_server(mixin, NamedInModule, handle_error=handle_error)
    with running(server) as address:
        client = connect(address)
        exchange(client, GET, b"page")
        wait_until_parked(server, 1)
        client.reset()
        eventually(lambda: server.stats().open == 0)
    assert [str(error) for error in told] == ["out of here"]


@without_children
def test_handle_that_does_more_is_called_once_a_client(mixin: str) -> None:
    Page.noted.clear()
    server = make_server(mixin, Logging, linger=0.001)
    with running(server) as address:
        with connect(address) as client:
            exchange(client, GET, b"page")
            exchange(client, GET, b"page")
            assert server.stats().parked == 0
        eventually(lambda: Page.noted == ["begin", "end"])


@without_children
def test_handle_that_does_more_is_called_once_a_request_if_it_may(mixin: str) -> None:
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


def test_handler_stays_of_the_programs_class_to_itself() -> None:
    seen: list[Any] = []

    class Looking(Plain):
        def do_GET(self) -> None:
            seen.append((isinstance(self, Looking), type(self).__name__, self.close_connection))
            super().do_GET()

    with running(make_server(GREENLET, Looking)) as address, connect(address) as client:
        exchange(client, GET, b"page")
        exchange(client, GET, b"page")
    assert seen == [(True, "Looking", False)] * 2


def test_folder_is_served_by_a_wrapped_handler_too() -> None:
    class Files(SimpleHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle(self) -> None:
            try:  # noqa: SIM105 - that is the shape
                super().handle()
            except ConnectionError:
                pass

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = make_server(GREENLET, Files)
    with running(server) as address, connect(address) as client:
        client.sendall(b"HEAD /no-such-file HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert receive_all(client).startswith(b"HTTP/1.1 404 ")
