"""`greensock run --check`: what a program is made of, with nobody served."""

import re
from pathlib import Path

import pytest

from .started import ended, greensock_run

CHECKED = """
import http.server, socketserver, sys
class Own(socketserver.StreamRequestHandler):
    def handle(self): pass
class Logging(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def handle(self):
        print("begin")
        super().handle()
class Greeting(http.server.SimpleHTTPRequestHandler):
    def setup(self):
        super().setup()
class Promising(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    parkable = True
    def handle(self):
        try:
            super().handle()
        except ConnectionError:
            pass
class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    pass
def main():
    with Server(("127.0.0.1", 0), Promising) as server:
        server.serve_forever()
    raise SystemExit("it served")
if SERVES:
    try:
        main()
    finally:
        print("cleaned up")
"""


@pytest.mark.parametrize("serves", [True, False])
def test_check_says_what_is_parked_and_serves_nobody(tmp_path: Path, serves: bool) -> None:
    program = CHECKED.replace("SERVES", str(serves))
    status, out, err = ended(greensock_run("--check", "-c", program), tmp_path)
    assert (status, err) == (0, "")
    assert ("cleaned up" in out) is serves
    assert bool(re.search(r"^serves __main__.Promising at 127.0.0.1:\d+\n", out)) is serves
    for lines in (
        "server __main__.Server\n    each turn of a client in a greenlet\n",
        "handler __main__.Own\n    keep where they run for as long as handle() runs: handle() is "
        "the class's own\n",
        "handler __main__.Logging\n    keep where they run for as long as handle() runs: handle() "
        "is the class's own\n",
        "handler __main__.Greeting\n    keep where they run for as long as handle() runs: setup() "
        "is the class's own\n",
        "handler __main__.Promising\n    parked; handle() is called for each request\n",
    ):
        assert lines in out


def test_check_of_a_server_in_a_thread_ends_too(tmp_path: Path) -> None:
    program = """
import http.server, threading, time
server = http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
thread = threading.Thread(target=server.serve_forever)
thread.start()
thread.join()
time.sleep(1000)
"""
    for options in ((), ("--no-monkey",)):
        status, out, err = ended(greensock_run("--check", *options, "-c", program), tmp_path)
        assert (status, err) == (0, "")
        assert out.startswith("serves http.server.BaseHTTPRequestHandler at 127.0.0.1:")


def test_check_of_a_program_on_greensock_itself_serves_nobody_either(tmp_path: Path) -> None:
    program = """
import greensock
class Own(greensock.KeepAliveRequestHandler): pass
class Server(greensock.ThreadingMixIn, greensock.TCPServer): pass
with Server(("127.0.0.1", 0), Own) as server:
    server.handle_request()
"""
    status, out, err = ended(greensock_run("--check", "-c", program), tmp_path)
    assert (status, err) == (0, "")
    assert "server __main__.Server\n    each turn of a client in a thread\n" in out
    assert "handler __main__.Own\n    parked\n" in out


MAKERS = {
    "functools.partial(functools.partial(Own), 'more')": (
        "serves __main__.Own, by functools.partial at 127.0.0.1:",
        "keep where they run for as long as handle() runs: handle() is the class's own",
    ),
    "functools.partial(SimpleHTTPRequestHandler, directory='.')": (
        "serves http.server.SimpleHTTPRequestHandler, by functools.partial at 127.0.0.1:",
        "parked; closed after each request, since HTTP/1.0 is spoken",
    ),
    "lambda *given: Own(*given)": ("serves __main__.<lambda> at", "is no class"),
    "Maker()": ("serves __main__.Maker at", "is no class"),
}


@pytest.mark.parametrize("maker", MAKERS)
def test_what_makes_handlers_is_named(tmp_path: Path, maker: str) -> None:
    program = f"""if 1:
        import functools, socketserver
        from http.server import SimpleHTTPRequestHandler
        class Own(socketserver.StreamRequestHandler):
            def handle(self): pass
        class Maker:
            def __call__(self, *given): return Own(*given)
        with socketserver.ThreadingTCPServer(("127.0.0.1", 0), {maker}) as server:
            server.serve_forever()
    """
    status, out, err = ended(greensock_run("--check", "-c", program), tmp_path)
    assert (status, err) == (0, "")
    first, second = out.splitlines()[:2]
    assert first.startswith(MAKERS[maker][0])
    assert MAKERS[maker][1] in second
