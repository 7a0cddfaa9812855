"""What programs find when socketserver is replaced; for scenarios in a process of their own."""

import sys
from typing import Any

import greensock

from .clients import ask, connect

ANY_PORT = ("127.0.0.1", 0)
GREENLET, THREADING, FORKING = MIXINS = ("greenlet", "threading", "forking")


def patched(mixin: str) -> Any:
    """The module that the program imports."""
    assert "socketserver" not in sys.modules
    greensock.patch_socketserver(mixin, monkey=False)
    import socketserver

    return socketserver


def upper(module: Any) -> Any:
    class Upper(module.StreamRequestHandler):  # type: ignore[misc]
        def handle(self) -> None:
            for line in self.rfile:
                self.wfile.write(line.upper())

    return Upper


def answers(address: Any) -> None:
    with connect(address) as first, connect(address) as second:
        assert ask(first, b"a\n") == b"A\n"
        assert ask(second, b"b\n") == b"B\n"
        assert ask(first, b"c\n") == b"C\n"
