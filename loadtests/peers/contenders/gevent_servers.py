"""gevent's own servers, with the two handlers its users write.

``lines``: ``makefile`` and a loop over its lines, as in gevent's echo server example; the same work
as the classic socketserver handler. ``chunks``: ``recv`` and ``sendall``, with no line reader at
all. gevent leaves Nagle's algorithm on; the backlog is its default, 256.
"""

from typing import Any

from gevent.server import DatagramServer, StreamServer

from .announcing import announce, run_variant


def echo_lines(client: Any, address: tuple[str, int]) -> None:
    with client.makefile("rb") as lines:
        for line in lines:
            client.sendall(line)


def echo_chunks(client: Any, address: tuple[str, int]) -> None:
    while data := client.recv(65_536):
        client.sendall(data)


class EchoDatagrams(DatagramServer):  # type: ignore[misc]  # gevent's classes are untyped
    def handle(self, data: bytes, address: tuple[str, int]) -> None:
        self.socket.sendto(data, address)


def serve(scheme: str, server: Any) -> None:
    server.start()
    announce(scheme, server.address)
    server.serve_forever()


if __name__ == "__main__":
    run_variant(
        {
            "lines": lambda: serve("tcp", StreamServer(("127.0.0.1", 0), echo_lines)),
            "chunks": lambda: serve("tcp", StreamServer(("127.0.0.1", 0), echo_chunks)),
            "udp": lambda: serve("udp", EchoDatagrams("127.0.0.1:0")),
        }
    )
