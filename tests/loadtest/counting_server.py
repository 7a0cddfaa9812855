"""A server that counts what it serves: `python counting_server.py PROTOCOL [OPTION=VALUE ...]`.

The standard library's, so that a fault of greensock's own servers cannot hide one of its load
tools. Prints where it listens; when its stdin ends, prints its counts as JSON and ends.

PROTOCOL is tcp, tls (with certificate=PEM), unix (with path=PATH) or udp. Streams are echoed line
by line; with stop_at=N the process stops itself (SIGSTOP) at the Nth. udp takes drop=N: no answer
to each Nth datagram.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import socketserver
import ssl
import sys
import threading
from collections import Counter
from typing import Any

COUNTS: Counter[str] = Counter()
OPTIONS: dict[str, str] = {}
LOCK = threading.Lock()


def count(name: str) -> int:
    with LOCK:
        COUNTS[name] += 1
        return COUNTS[name]


class LineEcho(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        count("connections")
        try:
            for line in self.rfile:
                if count("requests") == int(OPTIONS.get("stop_at", 0)):
                    os.kill(os.getpid(), signal.SIGSTOP)
                self.wfile.write(line)
        except ConnectionError:
            count("resets")


class DatagramEcho(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        data, sock = self.request
        number, drop = count("requests"), int(OPTIONS.get("drop", 0))
        if drop and number % drop == 0:
            count("dropped")
        else:
            sock.sendto(data, self.client_address)


class TCPServer(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 1024
    context: ssl.SSLContext | None = None

    def get_request(self) -> tuple[socket.socket, Any]:
        sock, address = super().get_request()
        if self.context is not None:
            sock = self.context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        return sock, address

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A handshake that the client refused is part of a test."""


class UnixServer(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    request_queue_size = 1024


def make_server(protocol: str) -> tuple[Any, str]:
    if protocol == "unix":
        return UnixServer(OPTIONS["path"], LineEcho), f"unix:{OPTIONS['path']}"
    if protocol == "udp":
        datagram_server = socketserver.UDPServer(("127.0.0.1", 0), DatagramEcho)
        return datagram_server, f"udp://127.0.0.1:{datagram_server.server_address[1]}"
    server = TCPServer(("127.0.0.1", 0), LineEcho)
    if protocol == "tls":
        server.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.context.load_cert_chain(OPTIONS["certificate"])
    return server, f"{protocol}://127.0.0.1:{server.server_address[1]}"


def main() -> None:
    protocol, *settings = sys.argv[1:]
    OPTIONS.update(setting.split("=", 1) for setting in settings)
    server, url = make_server(protocol)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}).start()
    print(f"listening on {url}", flush=True)
    sys.stdin.read()
    server.shutdown()
    print(json.dumps(COUNTS), flush=True)


if __name__ == "__main__":
    main()
