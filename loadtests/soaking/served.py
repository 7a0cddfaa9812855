"""``python -m loadtests.soaking.served KIND MIXIN [CERTIFICATE]``: one server of a soak.

In a process of its own. Prints `listening on ADDRESS`, serves until SIGTERM, and answers SIGUSR2
with a line of JSON: how many greenlets there are, and what the server has counted. SIGUSR1 drains
the server, and the next is made at its address; SIGHUP has it read its certificate again.
"""

from __future__ import annotations

import contextlib
import gc
import http.server
import json
import signal
import sys
from typing import Any, ClassVar

import gevent
import greenlet

from greensock import BaseRequestHandler, KeepAliveRequestHandler
from greensock.cli.serve import MIXINS, make_server
from greensock.examples import ClassicEcho, Echo
from greensock.net import addresses, open_files
from greensock.tls import contexts

#: Seconds between two lines that every listener is sent.
TICK = 0.2
#: Seconds that a drain may take before who is left is cut.
DRAIN_TIMEOUT = 1.0

#: What a server counts from its beginning on, and that its successor goes on with.
SUMMED = ("accepted", "errors", "handshakes_failed", "rejected", "bytes_received", "bytes_sent")


class Page(http.server.BaseHTTPRequestHandler):
    """Answers with the path that was asked for, over HTTP/1.1 with keep-alive."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = self.path.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing: there are too many."""


class Listener(KeepAliveRequestHandler):
    """Sends lines to clients who are parked, and echoes what they say."""

    members: ClassVar[dict[Any, int]] = {}

    def setup(self) -> None:
        super().setup()
        self.members[self] = 0

    def handle_one_request(self) -> None:
        self.wfile.write(self.rfile.readline())

    def finish(self) -> None:
        self.members.pop(self, None)
        super().finish()


class Datagram(BaseRequestHandler):
    """Sends each datagram back."""

    def handle(self) -> None:
        data, sock = self.request
        sock.sendto(data, self.client_address)


HANDLERS = {
    "echo": Echo,
    "classic": ClassicEcho,
    "http": Page,
    "push": Listener,
    "tls": Echo,
    "udp": Datagram,
}


def push_ticks() -> None:
    """Write a numbered line to every listener, for ever."""
    while True:
        gevent.sleep(TICK)
        for member, number in list(Listener.members.items()):
            # Whoever has gone is found out by the server.
            with contextlib.suppress(OSError, ValueError):
                member.wfile.write(b"tick %d\n" % number)
                if member in Listener.members:
                    Listener.members[member] = number + 1


def count_greenlets() -> int:
    """The living greenlets of this process."""
    return sum(
        issubclass(type(each), greenlet.greenlet) and bool(each) for each in gc.get_objects()
    )


class Lives:
    """A server, and another at the same address whenever it was drained; what they count is added.

    Args:
        kind: of handler.
        certificate: PEM file, for TLS.
    """

    def __init__(self, kind: str, mixin: str, certificate: str | None) -> None:
        self._kind = kind
        self._mixin = mixin
        self._certificate = certificate
        self._scheme = "udp" if kind == "udp" else "tcp"
        self._ended = False
        self._past: dict[str, int] = {}
        self.address = addresses.parse(f"{self._scheme}://127.0.0.1:0")
        self.server = self._new_server()
        self.address = addresses.describe(self.server.socket, self._scheme)

    def _new_server(self) -> Any:
        settings: dict[str, Any] = {"count_bytes": True}
        if self._mixin == "forking":
            settings["max_children"] = 200
        if self._certificate is not None:
            settings["ssl_context"] = contexts.server_context(self._certificate)
        return make_server(HANDLERS[self._kind], MIXINS[self._mixin], self.address, settings)

    def serve(self) -> None:
        """Serve until `end`."""
        while True:
            with self.server:
                if not self._ended:
                    self.server.serve_forever()
                self.server.block_on_close = False
            if self._ended:
                return
            # One step for whoever asks in a signal handler.
            self._past, self.server = self.counts(), self._new_server()
            if self._certificate is not None:
                # It may be another one since the server was made of it.
                self.renew()

    def end(self, *_: object) -> None:
        self._ended = True
        self.server.shutdown()

    def drain(self, *_: object) -> None:
        self.server.drain(DRAIN_TIMEOUT)

    def renew(self, *_: object) -> None:
        self.server.reload_tls(self._certificate)

    def counts(self) -> dict[str, int]:
        """What all of them have counted; of what there is now, the last."""
        stats = self.server.stats()
        counted = {name: n for name, n in stats._asdict().items() if type(n) is int}
        for name in SUMMED:
            counted[name] += self._past.get(name, 0)
        return counted


def main(kind: str, mixin: str, certificate: str | None = None) -> None:
    """Serve until SIGTERM."""
    open_files.raise_limit()
    lives = Lives(kind, mixin, certificate)

    def tell(*_: object) -> None:
        gc.collect()
        print(json.dumps({"greenlets": count_greenlets(), **lives.counts()}), flush=True)

    signal.signal(signal.SIGTERM, lives.end)
    signal.signal(signal.SIGUSR1, lives.drain)
    signal.signal(signal.SIGUSR2, tell)
    signal.signal(signal.SIGHUP, lives.renew)
    pusher = gevent.spawn(push_ticks) if kind == "push" else None
    print(f"listening on {lives.address}", flush=True)
    lives.serve()
    if pusher is not None:
        pusher.kill()


if __name__ == "__main__":
    main(*sys.argv[1:])
