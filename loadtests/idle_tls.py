"""Bytes of memory that an idle TLS client costs its server: greensock, socketserver, gevent.

    python -m loadtests.idle_tls [--clients 2000]

Each server runs in a process of its own. A hundred clients come first, so that what a server needs
once is not counted; then so many connect over TLS 1.3, ask one line and stay. The figure is the
growth of the server's PSS, divided by them. Needs greensock[test].
"""

from __future__ import annotations

import argparse
import contextlib
import socket
import socketserver
import ssl
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import greensock
from greensock.examples import Echo
from greensock.net import open_files
from greensock.processes.seen import memory, threads_of
from greensock.processes.started import TalkingProcess

_WARM_UP = 100
_NAME = "server.test"


class _ClassicEcho(socketserver.StreamRequestHandler):
    def setup(self) -> None:
        # As programs do who want no handshake in their accept loop.
        self.request.do_handshake()
        super().setup()

    def handle(self) -> None:
        for line in self.rfile:
            self.wfile.write(line)


class _StandardServer(socketserver.ThreadingTCPServer):
    request_queue_size = socket.SOMAXCONN


def _standard(context: ssl.SSLContext) -> Any:
    server = _StandardServer(("127.0.0.1", 0), _ClassicEcho)
    server.socket = context.wrap_socket(
        server.socket, server_side=True, do_handshake_on_connect=False
    )
    return server


def _greensock(mixin: str) -> Callable[[ssl.SSLContext], Any]:
    def make(context: ssl.SSLContext) -> Any:
        server = getattr(greensock, f"{mixin}TCPServer")(("127.0.0.1", 0), Echo)
        server.ssl_context = context
        return server

    return make


def _gevent(context: ssl.SSLContext) -> Any:
    from gevent.server import StreamServer

    def echo(sock: Any, address: object) -> None:
        for line in sock.makefile("rb"):
            sock.sendall(line)

    server = StreamServer(("127.0.0.1", 0), echo, ssl_context=context, backlog=socket.SOMAXCONN)
    server.start()
    server.server_address = ("127.0.0.1", server.server_port)
    return server


SERVERS: dict[str, Callable[[ssl.SSLContext], Any]] = {
    "greensock, greenlets": _greensock("Greenlet"),
    "greensock, threads": _greensock("Threading"),
    "greensock, no mixin": _greensock(""),
    "gevent StreamServer": _gevent,
    "socketserver, threads": _standard,
}


def serve(name: str, certificate: str) -> None:
    """In a server's process: announce the port, and serve until killed."""
    if name == "gevent StreamServer":
        from gevent import monkey

        monkey.patch_all()
    open_files.raise_limit()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = SERVERS[name](context)
    print(server.server_address[1], flush=True)
    server.serve_forever()


def connect(port: int, context: ssl.SSLContext) -> ssl.SSLSocket:
    client = context.wrap_socket(
        socket.create_connection(("127.0.0.1", port), timeout=30), server_hostname=_NAME
    )
    client.sendall(b"hello\n")
    assert client.recv(100) == b"hello\n"
    return client


def measure(name: str, clients: int, certificate: str, trusted: str) -> tuple[int, int]:
    """Bytes for each idle client, and the threads that the server has with all of them."""
    context = ssl.create_default_context(cafile=trusted)
    command = [sys.executable, "-m", "loadtests.idle_tls", "--serve", name, certificate]
    with TalkingProcess("server", command) as server, contextlib.ExitStack() as stack:
        pid, port = server.pid, int(server.read_line(30))
        for _ in range(_WARM_UP):
            stack.enter_context(connect(port, context))
        time.sleep(1)
        before = memory([pid])["Pss"]
        for _ in range(clients):
            stack.enter_context(connect(port, context))
        time.sleep(1)
        return (memory([pid])["Pss"] - before) // clients, threads_of(pid)


def main() -> None:
    parser = argparse.ArgumentParser(description="Bytes of memory of an idle TLS client.")
    parser.add_argument("--clients", type=int, default=2000, help="idle clients (default: 2000)")
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(*arguments.serve)
        return
    import trustme

    open_files.raise_limit()
    authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
    with tempfile.TemporaryDirectory() as folder:
        certificate, trusted = f"{folder}/server.pem", f"{folder}/authority.pem"
        authority.issue_cert(_NAME).private_key_and_cert_chain_pem.write_to_path(certificate)
        authority.cert_pem.write_to_path(trusted)
        print(f"{arguments.clients:,} idle clients, {ssl.OPENSSL_VERSION}")
        print(f"{'server':24}{'bytes each':>12}{'threads':>9}")
        for name in SERVERS:
            size, count = measure(name, arguments.clients, certificate, trusted)
            print(f"{name:24}{size:>12,}{count:>9,}", flush=True)


if __name__ == "__main__":
    main()
