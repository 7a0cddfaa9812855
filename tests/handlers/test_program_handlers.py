"""What programs' handlers do with their requests, on what `patch_socketserver` gives them."""

import io
import os
import socket
import sys
from typing import Any

import pytest

from greensock.testing import running

from ..clients import ask, connect, receive_all
from ..patched_programs import ANY_PORT, FORKING, MIXINS, patched
from ..separate_process import PATCHED, STUCK, UNPATCHED

pytest_plugins = ["tests.alone"]


def looks_at_its_request(mixin: str) -> None:
    module = patched(mixin)

    class Looking(module.BaseRequestHandler):  # type: ignore[misc]
        def handle(self) -> None:
            facts = (
                isinstance(self.request, socket.socket),
                self.request.getpeername() == self.client_address,
                self.request.gettimeout(),
                self.request.family == socket.AF_INET,
                os.get_blocking(self.request.fileno()) or "gevent's",
            )
            self.request.sendall(repr(facts).encode())

    server = module.ThreadingTCPServer(ANY_PORT, Looking)
    with running(server) as address, connect(address) as client:
        assert receive_all(client) == b"(True, True, None, True, True)"


def has_a_timeout(mixin: str) -> None:
    module = patched(mixin)

    class Impatient(module.StreamRequestHandler):  # type: ignore[misc]
        timeout = 0.02

        def handle(self) -> None:
            try:
                self.rfile.readline()
            except socket.timeout:  # noqa: UP041 - that is its name in programs
                self.wfile.write(b"too late\n")

    server = module.ThreadingTCPServer(ANY_PORT, Impatient)
    with running(server) as address, connect(address) as client:
        assert receive_all(client) == b"too late\n"


def reads_text(mixin: str) -> None:
    module = patched(mixin)

    class Text(module.BaseRequestHandler):  # type: ignore[misc]
        def handle(self) -> None:
            with self.request.makefile("rw", encoding="utf-8", newline="\n") as both:
                assert isinstance(both, io.TextIOBase)
                both.write(both.readline().upper())
                both.flush()
            with (
                self.request.makefile("r", encoding="latin-1") as reader,
                self.request.makefile("w", encoding="latin-1") as writer,
            ):
                for line in reader:
                    print(line.rstrip("\n").swapcase(), file=writer, flush=True)

    server = module.ThreadingTCPServer(ANY_PORT, Text)
    with running(server) as address, connect(address) as client:
        assert ask(client, "größe\n".encode()) == "GRÖSSE\n".encode()
        assert ask(client, b"Gr\xf6n\n") == b"gR\xd6N\n"


def verifies_and_reports(mixin: str) -> None:
    module = patched(mixin)
    reported = []

    class Failing(module.StreamRequestHandler):  # type: ignore[misc]
        def handle(self) -> None:
            raise LookupError("told to the program")

    class Server(module.ThreadingMixIn, module.TCPServer):  # type: ignore[misc]
        refusing = True

        def verify_request(self, request: Any, client_address: Any) -> bool:
            return not self.refusing

        def handle_error(self, request: Any, client_address: Any) -> None:
            reported.append(sys.exc_info()[0])
            request.sendall(b"sorry\n")

    server = Server(ANY_PORT, Failing)
    with running(server) as address:
        with connect(address) as client:
            assert receive_all(client) == b""
        server.refusing = False
        with connect(address) as client:
            assert receive_all(client) == b"sorry\n"
    assert reported == [LookupError] or mixin == FORKING


def passes_more_to_handlers(mixin: str) -> None:
    """finish_request() with arguments of the program's."""
    module = patched(mixin)

    class Greeting(module.StreamRequestHandler):  # type: ignore[misc]
        def __init__(self, *args: Any, greeting: bytes) -> None:
            self.greeting = greeting
            super().__init__(*args)

        def handle(self) -> None:
            self.wfile.write(self.greeting)

    class Server(module.ThreadingMixIn, module.TCPServer):  # type: ignore[misc]
        def finish_request(self, request: Any, client_address: Any) -> None:
            self.RequestHandlerClass(request, client_address, self, greeting=b"welcome\n")

    with running(Server(ANY_PORT, Greeting)) as address, connect(address) as client:
        assert receive_all(client) == b"welcome\n"


def serves_datagrams(mixin: str) -> None:
    module = patched(mixin)

    class Upper(module.BaseRequestHandler):  # type: ignore[misc]
        def handle(self) -> None:
            data, sock = self.request
            sock.sendto(data.upper(), self.client_address)

    server = module.ThreadingUDPServer(ANY_PORT, Upper)
    with running(server) as address, socket.socket(type=socket.SOCK_DGRAM) as client:
        client.settimeout(STUCK)
        client.sendto(b"hello", address)
        assert client.recv(100) == b"HELLO"


HABITS = (
    looks_at_its_request,
    has_a_timeout,
    reads_text,
    verifies_and_reports,
    passes_more_to_handlers,
    serves_datagrams,
)


@pytest.mark.parametrize("mode", [UNPATCHED, PATCHED])
@pytest.mark.parametrize("mixin", MIXINS)
@pytest.mark.parametrize("habit", HABITS, ids=lambda habit: habit.__name__)
def test_handler_keeps_its_habit(
    alone_with_nothing_imported, mode: str, mixin: str, habit: Any
) -> None:
    alone_with_nothing_imported(mode, habit, mixin)
