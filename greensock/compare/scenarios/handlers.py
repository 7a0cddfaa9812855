"""The handlers that the scenarios serve when no target is given.

They are what a user would write, so that they run under the standard library's servers too.
"""

from __future__ import annotations

import http.server
import socketserver
import time

import gevent
import gevent.socket

from greensock import KeepAliveRequestHandler


class Page(http.server.BaseHTTPRequestHandler):
    """One small page over HTTP/1.1 with keep-alive."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # the standard library's server leaves it on: 44 ms a request

    def do_GET(self) -> None:
        body = b"<!doctype html><title>greensock</title><p>Hello.\n"
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing: a line per request on stderr would be part of what is measured."""


class LineEcho(KeepAliveRequestHandler):
    """Sends each line back, however long it is."""

    max_line_size = None  # a megabyte in the scenario "large"

    def handle_one_request(self) -> None:
        line = self.rfile.readline()
        if not line:
            self.close_connection = True
            return
        self.wfile.write(line)


class LineUpper(LineEcho):
    """Sends each line back in capitals."""

    def handle_one_request(self) -> None:
        line = self.rfile.readline()
        if not line:
            self.close_connection = True
            return
        self.wfile.write(line.upper())


class Wait(LineEcho):
    """Waits 50 ms, as for a database, before it answers."""

    def handle_one_request(self) -> None:
        line = self.rfile.readline()
        if not line:
            self.close_connection = True
            return
        # As a driver for that database would: cooperatively where the server is.
        cooperative = isinstance(self.request, gevent.socket.socket)
        (gevent.sleep if cooperative else time.sleep)(0.05)
        self.wfile.write(line)


class Compute(LineEcho):
    """Computes for about half a millisecond before it answers."""

    def handle_one_request(self) -> None:
        line = self.rfile.readline()
        if not line:
            self.close_connection = True
            return
        sum(range(25_000))
        self.wfile.write(line)


class Mixed(LineEcho):
    """Computes for half a millisecond, or for a hundred times that if the line is "long ..."."""

    def handle_one_request(self) -> None:
        line = self.rfile.readline()
        if not line:
            self.close_connection = True
            return
        for _ in range(100 if line.startswith(b"long") else 1):
            sum(range(25_000))
        self.wfile.write(line)


class DatagramEcho(socketserver.BaseRequestHandler):
    """Sends each datagram back."""

    def handle(self) -> None:
        data, sock = self.request
        sock.sendto(data, self.client_address)
