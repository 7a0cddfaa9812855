"""greensock: request-wise and classic handlers under each mixin, UDP, and http.server handlers.

Defaults as they come, but for the number of children, raised as for the standard library's forks: a
classic handler holds one child for as long as its client stays.
"""

import greensock

from .announcing import announce, run_variant
from .http_page import Page

MAX_CHILDREN = 2_000  # more than the benchmark ever holds open on a child each


class EchoLine(greensock.KeepAliveRequestHandler):
    """Request-wise: one line is one request, and between two of them the client is parked."""

    def handle_one_request(self) -> None:
        self.wfile.write(self.rfile.readline())


class EchoLines(greensock.StreamRequestHandler):
    """Classic: its own ``handle()`` keeps a greenlet, thread or child until the client goes."""

    def handle(self) -> None:
        for line in self.rfile:
            self.wfile.write(line)


class EchoDatagram(greensock.BaseRequestHandler):
    def handle(self) -> None:
        data, server_socket = self.request
        server_socket.sendto(data, self.client_address)


class ThreadingServer(greensock.ThreadingTCPServer):
    daemon_threads = True  # as the standard library's here


class ForkingServer(greensock.ForkingTCPServer):
    max_children = MAX_CHILDREN


class ForkingUDPServer(greensock.ForkingUDPServer):
    max_children = MAX_CHILDREN


def serve(scheme: str, server: greensock.BaseServer) -> None:
    announce(scheme, server.server_address)
    server.serve_forever()


HERE = ("127.0.0.1", 0)

if __name__ == "__main__":
    run_variant(
        {
            "greenlet": lambda: serve("tcp", greensock.GreenletTCPServer(HERE, EchoLine)),
            "threading": lambda: serve("tcp", ThreadingServer(HERE, EchoLine)),
            "forking": lambda: serve("tcp", ForkingServer(HERE, EchoLine)),
            "none": lambda: serve("tcp", greensock.TCPServer(HERE, EchoLine)),
            "greenlet-classic": lambda: serve("tcp", greensock.GreenletTCPServer(HERE, EchoLines)),
            "threading-classic": lambda: serve("tcp", ThreadingServer(HERE, EchoLines)),
            "forking-classic": lambda: serve("tcp", ForkingServer(HERE, EchoLines)),
            "udp-greenlet": lambda: serve("udp", greensock.GreenletUDPServer(HERE, EchoDatagram)),
            "udp-threading": lambda: serve("udp", greensock.ThreadingUDPServer(HERE, EchoDatagram)),
            "udp-forking": lambda: serve("udp", ForkingUDPServer(HERE, EchoDatagram)),
            "udp-none": lambda: serve("udp", greensock.UDPServer(HERE, EchoDatagram)),
            "http-greenlet": lambda: serve("tcp", greensock.GreenletTCPServer(HERE, Page)),
            "http-threading": lambda: serve("tcp", ThreadingServer(HERE, Page)),
        }
    )
