"""The handlers under test, for those locustfiles that greensock.examples has no server for.

Run each with any mixin, for example:

    greensock serve loadtests/_servers.py:Wait --mixin threading

The underscore keeps `locust -f loadtests` from loading this file as a locustfile.
"""

from __future__ import annotations

import http.server
import socketserver
import time

import gevent
from gevent.hub import Hub

from greensock import KeepAliveRequestHandler

#: Seconds that Wait takes for an answer, and Compute computes.
WAIT_SECONDS = 0.05
COMPUTE_SECONDS = 0.0005


class Wait(KeepAliveRequestHandler):
    """Answers a line with the same line after 50 ms, as if a database had to be asked."""

    def handle_one_request(self) -> None:
        line = self.rfile.readline()
        # A handler runs in a greenlet, a thread or a child. gevent.sleep would start a hub in each
        # thread; time.sleep would stop all greenlets, where the process is not patched.
        if isinstance(gevent.getcurrent().parent, Hub):
            gevent.sleep(WAIT_SECONDS)
        else:
            time.sleep(WAIT_SECONDS)
        self.wfile.write(line)


class Compute(KeepAliveRequestHandler):
    """Answers a line with the same line after half a millisecond of Python."""

    def handle_one_request(self) -> None:
        line = self.rfile.readline()
        # CPU time of this thread, not time on the clock, which passes while another one runs.
        end = time.thread_time() + COMPUTE_SECONDS
        while time.thread_time() < end:
            pass
        self.wfile.write(line)


class Block(KeepAliveRequestHandler):
    """Answers "SIZE\\n" and SIZE bytes with those bytes.

    It reads them all before it writes: two ends that each write a megabyte to one which is not
    reading would wait for each other as soon as the kernel's buffers are full.
    """

    def handle_one_request(self) -> None:
        size = int(self.rfile.readline() or b"0")
        self.wfile.write(self.rfile.read(size))


class Page(http.server.BaseHTTPRequestHandler):
    """A small page over HTTP/1.1 with keep-alive."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = b"<!doctype html><title>greensock</title><p>Served.\n"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Not a line on stderr per request, which would be what is measured."""


class Datagram(socketserver.BaseRequestHandler):
    """Sends each datagram back."""

    def handle(self) -> None:
        data, sock = self.request
        sock.sendto(data, self.client_address)
