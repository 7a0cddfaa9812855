"""Which handlers are request-wise, and what their constructor calls."""

import functools
import http.server
import socketserver
from typing import Any, ClassVar

import pytest

from greensock import (
    BaseRequestHandler,
    DatagramRequestHandler,
    KeepAliveRequestHandler,
    StreamRequestHandler,
)
from greensock.handlers.traits import is_request_wise, waits_for_data


class KeepAlive(KeepAliveRequestHandler):
    pass


class OwnHandle(KeepAliveRequestHandler):
    def handle(self) -> None:
        super().handle()


class OwnSetup(KeepAliveRequestHandler):
    def setup(self) -> None:
        super().setup()


class Refusing(KeepAliveRequestHandler):
    parkable = False


class Promising(StreamRequestHandler):
    parkable = True

    def handle_one_request(self) -> None:
        pass


class PromisingNothing(StreamRequestHandler):
    parkable = True


class Http(http.server.BaseHTTPRequestHandler):
    pass


class HttpOfOwn(http.server.SimpleHTTPRequestHandler):
    def handle(self) -> None:
        pass


class Standard(socketserver.StreamRequestHandler):
    pass


class Deferring(StreamRequestHandler):
    defer_until_data = True


class Eager(KeepAliveRequestHandler):
    defer_until_data = False


@pytest.mark.parametrize(
    ("handler", "request_wise", "waits"),
    [
        (KeepAlive, True, True),
        (OwnHandle, False, False),
        (OwnSetup, True, False),
        (Refusing, False, False),
        (Promising, True, True),
        (PromisingNothing, False, False),
        (Http, True, True),
        (http.server.SimpleHTTPRequestHandler, True, True),
        (functools.partial(functools.partial(Http), 1), True, True),
        (HttpOfOwn, False, False),
        (Standard, False, False),
        (StreamRequestHandler, False, False),
        (DatagramRequestHandler, False, False),
        (Deferring, False, True),
        (Eager, True, False),
        (lambda *args: None, False, False),
        (None, False, False),
    ],
)
def test_handlers_are_told_apart(handler: Any, request_wise: bool, waits: bool) -> None:
    assert is_request_wise(handler) is request_wise
    assert waits_for_data(handler) is waits


class Recording(BaseRequestHandler):
    called: ClassVar[list[str]] = []
    fails_in = ""

    def note(self, name: str) -> None:
        self.called.append(name)
        if self.fails_in == name:
            raise LookupError(name)

    def setup(self) -> None:
        self.note("setup")

    def handle(self) -> None:
        self.note("handle")

    def finish(self) -> None:
        self.note("finish")


@pytest.mark.parametrize(
    ("fails_in", "called"),
    [
        ("", ["setup", "handle", "finish"]),
        ("setup", ["setup"]),
        ("handle", ["setup", "handle", "finish"]),
    ],
)
def test_constructor_runs_the_handler(
    monkeypatch: pytest.MonkeyPatch, fails_in: str, called: list[str]
) -> None:
    monkeypatch.setattr(Recording, "called", [])
    monkeypatch.setattr(Recording, "fails_in", fails_in)
    if fails_in:
        with pytest.raises(LookupError, match=fails_in):
            Recording(None, None, None)
    else:
        Recording(None, None, None)
    assert Recording.called == called


def test_keep_alive_handler_must_say_what_a_request_is() -> None:
    with pytest.raises(NotImplementedError, match="must define handle_one_request"):
        KeepAliveRequestHandler.handle_one_request(object.__new__(KeepAlive))
