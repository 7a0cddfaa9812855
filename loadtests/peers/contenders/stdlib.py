"""The standard library's socketserver: threads, forks, UDP, and http.server on threads.

As users write it: a StreamRequestHandler that iterates over ``rfile``. Nagle's algorithm stays on
(the library's default) but for the variant that says otherwise. Two defaults are lifted where they
would measure something else than the server: a listen queue of 5 (a crowd then waits a second for
TCP to retransmit its SYN) and 40 children (the 41st idle client would wait for ever). Threads are
daemons, as in ThreadingHTTPServer; otherwise every accept walks the list of all threads.
"""

import socket
import socketserver
from http.server import ThreadingHTTPServer

from .announcing import announce, run_variant
from .http_page import Page, PageWithoutNagle

MAX_CHILDREN = 2_000  # more than the benchmark ever holds open on a child each


class EchoLines(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        for line in self.rfile:
            self.wfile.write(line)


class EchoDatagram(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        data, server_socket = self.request
        server_socket.sendto(data, self.client_address)


class ThreadingServer(socketserver.ThreadingTCPServer):
    request_queue_size = socket.SOMAXCONN
    daemon_threads = True


class ForkingServer(socketserver.ForkingTCPServer):
    request_queue_size = socket.SOMAXCONN
    max_children = MAX_CHILDREN


class ThreadingUDPServer(socketserver.ThreadingUDPServer):
    daemon_threads = True


class ForkingUDPServer(socketserver.ForkingUDPServer):
    max_children = MAX_CHILDREN


class HTTPServer(ThreadingHTTPServer):
    request_queue_size = socket.SOMAXCONN


def serve(scheme: str, server: socketserver.BaseServer) -> None:
    announce(scheme, server.server_address)  # type: ignore[arg-type]  # every one here is AF_INET
    server.serve_forever()


HERE = ("127.0.0.1", 0)

VARIANTS = {
    "threads": lambda: serve("tcp", ThreadingServer(HERE, EchoLines)),
    "forks": lambda: serve("tcp", ForkingServer(HERE, EchoLines)),
    "udp": lambda: serve("udp", socketserver.UDPServer(HERE, EchoDatagram)),
    "udp-threads": lambda: serve("udp", ThreadingUDPServer(HERE, EchoDatagram)),
    "udp-forks": lambda: serve("udp", ForkingUDPServer(HERE, EchoDatagram)),
    "http": lambda: serve("tcp", HTTPServer(HERE, Page)),
    "http-no-nagle": lambda: serve("tcp", HTTPServer(HERE, PageWithoutNagle)),
}

if __name__ == "__main__":
    run_variant(VARIANTS)
