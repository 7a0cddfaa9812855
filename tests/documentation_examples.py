"""Programs of the shape of socketserver's four documented examples, for any mixin.

Imported by the tests, and run as a program where the process is to be patched:

    python documentation_examples.py greensock Greenlet

prints what every example's clients were answered, as JSON.
"""

import contextlib
import importlib
import json
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from types import ModuleType

Answers = list[str]
SERVING_THREAD = "the serving thread"


@contextlib.contextmanager
def served(server) -> Iterator[tuple]:
    """Serve from a background thread, as the fourth example does."""
    # socketserver's shutdown takes as long as its poll interval; greensock's does not.
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), name=SERVING_THREAD)
    with server:
        thread.start()
        try:
            yield server.server_address
        finally:
            server.shutdown()
            thread.join()


def ask_stream(address: tuple, text: str) -> str:
    """Send a line, and read until the server closes."""
    with socket.create_connection(address, timeout=30) as client:
        client.sendall(text.encode() + b"\n")
        return client.makefile("rb").read().decode()


def ask_datagram(address: tuple, text: str) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(30)
        client.sendto(text.encode() + b"\n", address)
        return client.recv(1024).decode()


def stream_with_recv(module: ModuleType, mixin: str) -> Answers:
    class UpperFromSocket(module.BaseRequestHandler):
        def handle(self):
            received = b""
            while not received.endswith(b"\n"):
                received += self.request.recv(1024)
            self.data = received.strip()
            self.request.sendall(self.data.upper())

    server = getattr(module, f"{mixin}TCPServer")(("localhost", 0), UpperFromSocket)
    with served(server) as address:
        return [ask_stream(address, text) for text in ("hello world with TCP", "python is nice")]


def stream_with_rfile(module: ModuleType, mixin: str) -> Answers:
    class UpperFromFile(module.StreamRequestHandler):
        def handle(self):
            self.data = self.rfile.readline(10_000).rstrip()
            self.wfile.write(self.data.upper())

    server = getattr(module, f"{mixin}TCPServer")(("localhost", 0), UpperFromFile)
    with served(server) as address:
        return [ask_stream(address, text) for text in ("hello world with TCP", "python is nice")]


def datagrams(module: ModuleType, mixin: str) -> Answers:
    class UpperDatagram(module.BaseRequestHandler):
        def handle(self):
            data, server_socket = self.request
            server_socket.sendto(data.strip().upper(), self.client_address)

    server = getattr(module, f"{mixin}UDPServer")(("localhost", 0), UpperDatagram)
    with served(server) as address:
        return [ask_datagram(address, text) for text in ("hello world with UDP", "python is nice")]


def threads(module: ModuleType, mixin: str) -> Answers:
    """The answers name the thread that the handler ran in."""

    class NameThread(module.BaseRequestHandler):
        def handle(self):
            text = str(self.request.recv(1024), "ascii")
            self.request.sendall(f"{threading.current_thread().name}: {text}".encode())

    server = getattr(module, f"{mixin}TCPServer")(("localhost", 0), NameThread)
    with served(server) as (host, port):
        return [
            ask_stream((host, port), text).rstrip("\n")
            for text in ("Hello World 1", "Hello World 2", "Hello World 3")
        ]


EXAMPLES: dict[str, Callable[[ModuleType, str], Answers]] = {
    "stream_with_recv": stream_with_recv,
    "stream_with_rfile": stream_with_rfile,
    "datagrams": datagrams,
    "threads": threads,
}


if __name__ == "__main__":
    servers = importlib.import_module(sys.argv[1])
    json.dump({name: run(servers, sys.argv[2]) for name, run in EXAMPLES.items()}, sys.stdout)
