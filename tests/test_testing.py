"""`greensock.testing.running`, with servers of greensock's and of socketserver's."""

import socket
import socketserver
import threading
from types import ModuleType

import pytest

import greensock
from greensock.testing import running

both_modules = pytest.mark.parametrize(
    "module", [greensock, socketserver], ids=lambda m: m.__name__
)
ANY_PORT = ("127.0.0.1", 0)


def echo_handler(module: ModuleType) -> type:
    class EchoLine(module.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(self.rfile.readline())

    return EchoLine


@both_modules
def test_server_answers_within_the_block_and_is_closed_after_it(module: ModuleType) -> None:
    server = module.TCPServer(ANY_PORT, echo_handler(module))
    with running(server, 0.01) as address:
        assert address == server.server_address
        with socket.create_connection(address) as client:
            client.sendall(b"hello\n")
            assert client.recv(100) == b"hello\n"
    assert server.fileno() == -1
    assert not [each for each in threading.enumerate() if each.name.startswith("running ")]


@both_modules
def test_block_that_does_nothing_ends(module: ModuleType) -> None:
    """However early the shutdown comes, the thread may not have begun to serve."""
    for _ in range(20):
        with running(module.TCPServer(ANY_PORT, echo_handler(module)), 0.01):
            pass


@both_modules
def test_block_may_end_the_server_itself(module: ModuleType) -> None:
    server = module.TCPServer(ANY_PORT, echo_handler(module))
    with running(server, 0.01):
        server.shutdown()
        server.server_close()


def test_failure_of_the_block_comes_out_and_the_server_is_closed() -> None:
    server = greensock.TCPServer(ANY_PORT, greensock.BaseRequestHandler)
    with pytest.raises(LookupError, match="nothing there"), running(server):
        raise LookupError("nothing there")
    assert server.fileno() == -1


@both_modules
def test_what_ended_serve_forever_comes_out_with_its_consequence(module: ModuleType) -> None:
    given_up = threading.Event()

    class GivesUp(module.TCPServer):
        def service_actions(self) -> None:
            given_up.set()
            raise SystemExit("the server gives up")

    def suffer(server: GivesUp) -> None:
        with running(server, 0.01):
            given_up.wait()
            raise LookupError("no answer")

    server = GivesUp(ANY_PORT, module.BaseRequestHandler)
    with pytest.raises(SystemExit, match="gives up") as caught:
        suffer(server)
    assert isinstance(caught.value.__context__, LookupError)
    assert server.fileno() == -1


def test_serving_fixture_gives_the_address(serving) -> None:
    address = serving(greensock.TCPServer(ANY_PORT, echo_handler(greensock)))
    with socket.create_connection(address) as client:
        client.sendall(b"hello\n")
        assert client.recv(100) == b"hello\n"
