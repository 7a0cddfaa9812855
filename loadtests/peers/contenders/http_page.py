"""The one page that every http.server contender serves, by the same handler class."""

from http.server import BaseHTTPRequestHandler

PAGE = b"Hello, world!\n"


class Page(BaseHTTPRequestHandler):
    """A GET handler as the documentation writes it: the head first, then the body."""

    protocol_version = "HTTP/1.1"  # the class's default, HTTP/1.0, closes after every request

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(PAGE)))
        self.end_headers()
        self.wfile.write(PAGE)

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: a line to stderr per request would be most of what is measured."""


class PageWithoutNagle(Page):
    """The same with the standard library's own switch for Nagle's algorithm."""

    disable_nagle_algorithm = True
