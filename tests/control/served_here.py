"""A handler that can be told to compute, which keeps its server's hub to itself."""

from time import monotonic

from greensock import KeepAliveRequestHandler


class Computing(KeepAliveRequestHandler):
    """Answers at once, and then computes for as many seconds as the line says."""

    def handle_one_request(self) -> None:
        end = monotonic() + float(self.rfile.readline())
        self.wfile.write(b"computing\n")
        while monotonic() < end:
            pass
