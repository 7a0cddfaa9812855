"""Handlers to try a server with: `greensock serve greensock.examples:Echo`."""

from __future__ import annotations

import contextlib
from typing import Any, ClassVar

from greensock.handlers import BaseRequestHandler, KeepAliveRequestHandler, StreamRequestHandler


class Echo(KeepAliveRequestHandler):
    """Sends each line back. Between two lines, and amid one, its client is parked."""

    request_terminator = b"\n"

    def handle_one_request(self) -> None:
        self.wfile.write(self.rfile.readline())


class ClassicEcho(StreamRequestHandler):
    """Sends each line back, in a handle() of its own: its client keeps a greenlet, thread or child.

    It runs unchanged on the standard library's socketserver.
    """

    def handle(self) -> None:
        for line in self.rfile:
            self.wfile.write(line)


class Upper(BaseRequestHandler):
    """Answers once, in capitals; for datagrams too."""

    def handle(self) -> None:
        if isinstance(self.request, tuple):
            data, sock = self.request
            sock.sendto(data.strip().upper(), self.client_address)
        else:
            self.request.sendall(self.request.recv(1024).strip().upper())


class Chat(KeepAliveRequestHandler):
    """Sends each line to everybody else. The first line of a client is its name.

    Most of its clients are parked most of the time, and are written to all the same. Under
    ForkingMixIn nobody hears anybody: each client's child has a table of its own.
    """

    request_terminator = b"\n"

    _members: ClassVar[dict[Any, str]] = {}

    def setup(self) -> None:
        super().setup()
        self.wfile.write(b"Your name?\n")

    def handle_one_request(self) -> None:
        text = self.rfile.readline().decode("utf-8", "replace").strip()
        name = self._members.get(self)
        if name is None:
            self._members[self] = text or "nobody"
            self._tell_others(f"* {self._members[self]} is here")
        else:
            self._tell_others(f"{name}: {text}")

    def finish(self) -> None:
        name = self._members.pop(self, None)
        if name is not None:
            self._tell_others(f"* {name} has left")
        super().finish()

    def _tell_others(self, text: str) -> None:
        for member in list(self._members):
            if member is not self:
                # Whoever has gone is found out by the server.
                with contextlib.suppress(OSError, ValueError):
                    member.wfile.write(f"{text}\n".encode())
