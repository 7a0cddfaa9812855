"""Classes that would be half greensock's and half the standard library's."""

import http.server
import socketserver
from typing import Any

import pytest

import greensock


@pytest.mark.parametrize(
    "bases",
    [
        (greensock.GreenletMixIn, socketserver.TCPServer),
        (greensock.ThreadingMixIn, socketserver.TCPServer),
        (greensock.ForkingMixIn, socketserver.UDPServer),
        (greensock.ThreadingMixIn, socketserver.ThreadingMixIn, greensock.TCPServer),
        (socketserver.ThreadingMixIn, greensock.TCPServer),
        (socketserver.ForkingMixIn, greensock.UnixStreamServer),
    ],
)
def test_server_of_both_libraries_is_refused(bases: tuple[Any, ...]) -> None:
    with pytest.raises(TypeError, match=r"Half is half greensock's and half the standard"):
        type("Half", bases, {"__qualname__": "Half"})


def test_refusal_says_what_was_imported_too_early() -> None:
    with pytest.raises(
        TypeError,
        match=r"\(socketserver\.\w+\): .*patch_socketserver\(\) before http\.server is imported",
    ):
        type("Server", (greensock.ThreadingMixIn, http.server.HTTPServer), {})


def test_handlers_of_either_may_be_served() -> None:
    class Handler(http.server.BaseHTTPRequestHandler, greensock.StreamRequestHandler):
        pass

    class Server(greensock.ThreadingMixIn, greensock.TCPServer):
        pass

    with Server(("127.0.0.1", 0), Handler) as server:
        assert server.RequestHandlerClass is Handler
