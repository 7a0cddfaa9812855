"""Handlers to try a server with: `greensock serve greensock.examples:Echo`."""

from __future__ import annotations

import threading
from collections import deque
from typing import Any, ClassVar

import gevent

from greensock.handlers.classes import (
    BaseRequestHandler,
    KeepAliveRequestHandler,
    StreamRequestHandler,
)
from greensock.mixins.threads import ThreadingMixIn

# Lines that a member of the chat may be behind. Arbitrary: more than anybody reads.
_MOST_UNSENT = 1000


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

    Most of its clients are parked most of the time, and are written to all the same: each by a
    writer of its own, which is there only while it has something to write. So nobody waits for
    whoever does not read; who is too far behind is hung up on. Under ForkingMixIn nobody hears
    anybody: each client's child has a table of its own.
    """

    request_terminator = b"\n"

    _members: ClassVar[dict[Any, str]] = {}

    def setup(self) -> None:
        super().setup()
        self._unsent: deque[bytes] = deque()
        self._lock = threading.Lock()
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
                member._tell(f"{text}\n".encode())

    def _tell(self, line: bytes) -> None:
        # Held for an append or a popleft, and never while anybody waits.
        with self._lock:
            self._unsent.append(line)
            waiting = len(self._unsent)
        if waiting == 1:
            if isinstance(self.server, ThreadingMixIn):
                threading.Thread(target=self._write_unsent, daemon=True).start()
            else:
                gevent.spawn(self._write_unsent)
        elif waiting > _MOST_UNSENT:
            self.hang_up()

    def _write_unsent(self) -> None:
        line: bytes | None = self._unsent[0]
        try:
            while line is not None:
                self.wfile.write(line)
                with self._lock:
                    self._unsent.popleft()
                    line = self._unsent[0] if self._unsent else None
        except (OSError, ValueError):
            # Whoever has gone is found out by the server.
            self._members.pop(self, None)
