"""Servers that each have a fault planted, on the standard library's threads: what must be found.

    python -m tests.torture.planted_servers FAULT

Each echoes lines, and prints where it listens. `sound` has no fault that a few clients would find.
"""

import contextlib
import os
import signal
import socket
import socketserver
import sys
import threading
import time
from typing import ClassVar


class Echo(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        # A client who leaves in the middle is no error of this program.
        with contextlib.suppress(ConnectionError):
            while line := self.rfile.readline(65536):
                self.answer(line)

    def answer(self, line: bytes) -> None:
        self.wfile.write(line)


class Spins(Echo):
    """Polls each client's socket as fast as it can."""

    def handle(self) -> None:
        self.request.setblocking(False)
        end = time.monotonic() + 20
        while time.monotonic() < end:
            try:
                data = self.request.recv(65536)
            except BlockingIOError:
                continue
            except ConnectionError:
                return
            if not data:
                return
            self.request.sendall(data)


class Leaks(Echo):
    """Keeps a descriptor of each client who breaks off."""

    kept: ClassVar[list[int]] = []

    def handle(self) -> None:
        try:
            while line := self.rfile.readline(65536):
                self.answer(line)
        except ConnectionError:
            self.kept.append(os.dup(2))


class Hoards(Echo):
    """Reads lines however long they are."""

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):
            while line := self.rfile.readline():
                self.answer(line)


class Complains(Echo):
    """Has a traceback for every client who breaks off."""

    def handle(self) -> None:
        while line := self.rfile.readline(65536):
            self.answer(line)


class Dies(Echo):
    """Takes the whole server with it when a client breaks off."""

    def handle(self) -> None:
        try:
            while line := self.rfile.readline(65536):
                self.answer(line)
        except ConnectionError:
            os._exit(1)


class MixesUp(Echo):
    """Answers with what the client before last said, once there are more than three."""

    lines: ClassVar[list[bytes]] = []

    def answer(self, line: bytes) -> None:
        self.lines.append(line)
        crowded = threading.active_count() > 8
        self.wfile.write(self.lines[-2] if crowded and len(self.lines) > 1 else line)


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = socket.SOMAXCONN


class Hangs(socketserver.TCPServer):
    """Serves one client at a time: whoever is silent keeps all others waiting."""

    request_queue_size = socket.SOMAXCONN


class Deaf(Server):
    """Never looks whether it was told to stop."""


FAULTS = {
    "sound": (Server, Echo),
    "spins": (Server, Spins),
    "leaks": (Server, Leaks),
    "hoards": (Server, Hoards),
    "complains": (Server, Complains),
    "dies": (Server, Dies),
    "mixes-up": (Server, MixesUp),
    "hangs": (Hangs, Echo),
    "deaf": (Deaf, Echo),
}


class _EchoDatagram(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        data, sock = self.request
        if not data:
            os._exit(1)
        sock.sendto(data, self.client_address)


def main(fault: str) -> None:
    server: socketserver.TCPServer
    if fault == "dies-of-empty":
        server = socketserver.UDPServer(("127.0.0.1", 0), _EchoDatagram)
    else:
        server_class, handler = FAULTS[fault]
        server = server_class(("127.0.0.1", 0), handler)
    if fault == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    scheme = "udp" if fault == "dies-of-empty" else "tcp"
    print(f"listening on {scheme}://127.0.0.1:{server.server_address[1]}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1])
