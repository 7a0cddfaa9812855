"""Holds idle clients open: a small process of its own, standard library only.

Run as `python idle_clients.py ADDRESS`, it reads one JSON command per line and answers each with
one JSON line; at the end of its input it closes everything and ends.

    {"do": "open", "clients": N, "payload": TEXT, "expect": RULE, "patience": S, "in_flight": M,
     "keep": true, "sources": []}   connects, sends the payload, waits for the reply, N times
    {"do": "check"}                 which of the held clients has the server closed?
    {"do": "ping", "clients": N, "payload": TEXT, "expect": RULE, "patience": S}
    {"do": "close"}

A payload has a character for each byte; with null there is no exchange. Clients come from the
`sources` in turn, or from where the kernel likes.

Own sockets instead of load-test users: 20,000 of these take 8 MiB, a locust user 18 KiB each.
"""

import errno
import json
import os
import re
import selectors
import socket
import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

CLIENTS_PER_SOURCE = 20_000  # of the 28,232 ephemeral ports a (source, destination) pair has
IP_BIND_ADDRESS_NO_PORT = 24  # linux/in.h: choose the port at connect, when the pair is known


class Client:
    """One connection on its way to being held: what is still to send, what has come."""

    __slots__ = ("connected", "received", "sock", "unsent")

    def __init__(self, sock: socket.socket, payload: bytes | None) -> None:
        self.sock = sock
        self.unsent = payload or b""
        self.received = b""
        self.connected = False


class Opening:
    """What has come of opening a number of clients."""

    def __init__(self, clients: int, payload: bytes | None, expect: str, keep: bool) -> None:
        self.to_start = clients
        self.payload = payload
        self.expect = expect
        self.keep = keep
        self.answered = 0
        self.unanswered = 0
        self.errors: Counter[str] = Counter()
        self.last_progress = time.monotonic()

    def give_up(self, client: Client) -> None:
        if client.connected:
            self.unanswered += 1
        else:
            self.errors["not connected in time"] += 1
        client.sock.close()


def reply_is_complete(received: bytes, payload: bytes, rule: str) -> bool:
    """True when `received` is the whole reply; ValueError when it cannot be one."""
    if rule == "any":
        return bool(received)
    if rule == "line":
        return b"\n" in received
    if rule == "len":
        return len(received) >= len(payload)
    if rule == "same":
        if not payload.startswith(received):
            raise ValueError("a reply that differs from what was sent")
        return len(received) == len(payload)
    return re.search(rule.removeprefix("regex:").encode(), received, re.DOTALL) is not None


class IdleClients:
    def __init__(self, address: tuple[socket.AddressFamily, Any]) -> None:
        self.family, self.address = address
        self.held: list[socket.socket] = []
        self.sources: list[str] = []
        self.opened = 0

    def next_source(self) -> str | None:
        """Where the next client comes from; None leaves it to the kernel."""
        number, self.opened = self.opened, self.opened + 1
        if self.sources:
            return self.sources[number % len(self.sources)]
        block = number // CLIENTS_PER_SOURCE
        loopback = self.family == socket.AF_INET and self.address[0].startswith("127.")
        return f"127.0.{block}.1" if block and loopback and sys.platform == "linux" else None

    def connect(self) -> socket.socket:
        """Begin a connection; the caller waits until it is writable."""
        sock = socket.socket(self.family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            source = self.next_source()
            if source is not None:
                if sys.platform == "linux":
                    sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
                sock.bind((source, 0))
            status = sock.connect_ex(self.address)
            if status not in (0, errno.EINPROGRESS):
                raise OSError(status, errno.errorcode.get(status, str(status)))
        except OSError:
            sock.close()
            raise
        return sock

    def open(
        self,
        clients: int,
        payload: str | None,
        expect: str,
        patience: float,
        in_flight: int = 256,
        keep: bool = True,
        sources: Sequence[str] = (),
    ) -> dict[str, Any]:
        """Open `clients` clients and prove each one served by an exchange.

        Gives up once `patience` seconds pass without any client getting on. "unanswered" counts
        those the kernel connected and nobody answered: a full backlog accepts without a server.
        """
        question = None if payload is None else payload.encode("latin-1")
        opening = Opening(clients, question, expect, keep)
        self.sources = list(sources)
        began = opening.last_progress
        with selectors.DefaultSelector() as selector:
            while opening.to_start or selector.get_map():
                self.start_some(selector, opening, in_flight)
                for key, _ in selector.select(0.05):
                    self.get_on(selector, key.data, opening)
                if time.monotonic() - opening.last_progress > patience:
                    break
            for key in list(selector.get_map().values()):
                opening.give_up(key.data)
        return {
            "asked": clients,
            "held": opening.answered,
            "unanswered": opening.unanswered,
            "not_tried": opening.to_start,
            "errors": dict(opening.errors),
            "seconds": time.monotonic() - began,
        }

    def start_some(
        self, selector: selectors.BaseSelector, opening: Opening, in_flight: int
    ) -> None:
        """Begin connections until so many are under way."""
        while opening.to_start and len(selector.get_map()) < in_flight:
            try:
                client = Client(self.connect(), opening.payload)
            except BlockingIOError:  # a Unix socket's full backlog: try again in a moment
                return
            except OSError as error:
                opening.errors[describe(error)] += 1
            else:
                selector.register(client.sock, selectors.EVENT_WRITE, client)
            opening.to_start -= 1

    def get_on(self, selector: selectors.BaseSelector, client: Client, opening: Opening) -> None:
        """Let one client do its next step; hold it once its exchange is complete."""
        try:
            complete = self.advance(selector, client, opening)
        except (OSError, ValueError) as error:
            opening.errors[describe(error)] += 1
            opening.last_progress = time.monotonic()
            selector.unregister(client.sock)
            client.sock.close()
            return
        if not complete:
            return
        opening.last_progress = time.monotonic()
        opening.answered += 1
        selector.unregister(client.sock)
        if opening.keep:
            self.held.append(client.sock)
        else:
            client.sock.close()

    def advance(self, selector: selectors.BaseSelector, client: Client, opening: Opening) -> bool:
        """Do what the socket is ready for; True when the exchange is complete."""
        if not client.connected:
            status = client.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if status:
                raise OSError(status, errno.errorcode.get(status, str(status)))
            client.connected = True
            if opening.payload is None:
                return True
        if client.unsent:
            sent = client.sock.send(client.unsent)
            client.unsent = client.unsent[sent:]
            if not client.unsent:
                selector.modify(client.sock, selectors.EVENT_READ, client)
            return False
        data = client.sock.recv(65536)
        if not data:
            how = "within its reply" if client.received else "without an answer"
            raise ValueError(f"the server closed the connection {how}")
        client.received += data
        return reply_is_complete(client.received, opening.payload or b"", opening.expect)

    def check(self) -> dict[str, int]:
        """Drop the clients that the server has closed; say how many."""
        alive = []
        for sock in self.held:
            try:
                while data := sock.recv(65536):
                    pass  # pushed by the server, or the rest of a long reply: a live client
            except BlockingIOError:
                alive.append(sock)
                continue
            except OSError:
                data = b""
            if not data:
                sock.close()
        lost = len(self.held) - len(alive)
        self.held = alive
        return {"held": len(alive), "lost": lost}

    def ping(self, clients: int, payload: str, expect: str, patience: float) -> dict[str, int]:
        """One more exchange on up to `clients` of the held ones, spread evenly over them."""
        question = payload.encode("latin-1")
        chosen = self.held[:: max(1, len(self.held) // clients)][:clients] if self.held else []
        answered = silent = 0
        for sock in chosen:
            sock.settimeout(patience)
            try:
                sock.sendall(question)
                received = b""
                while not reply_is_complete(received, question, expect):
                    data = sock.recv(65536)
                    if not data:
                        raise ConnectionResetError
                    received += data
                answered += 1
            except (OSError, ValueError):
                silent += 1
            sock.setblocking(False)
            if silent > 3:  # each may cost a whole patience
                break
        return {"asked": len(chosen), "answered": answered}

    def close(self) -> dict[str, int]:
        """Let go of all of them."""
        closed = len(self.held)
        while self.held:
            self.held.pop().close()
        return {"closed": closed}


def describe(error: Exception) -> str:
    """One short text per kind of error, without anything that differs from client to client."""
    if isinstance(error, OSError) and error.errno is not None:
        return os.strerror(error.errno)
    return str(error) or error.__class__.__name__


def parse(address: str) -> tuple[socket.AddressFamily, Any]:
    """`tcp://host:port` or `unix:PATH` as an address family and what `connect` wants."""
    if address.startswith("unix:"):
        return socket.AF_UNIX, address.removeprefix("unix:")
    host, port = address.removeprefix("tcp://").rsplit(":", 1)
    host = host.strip("[]")
    return (socket.AF_INET6 if ":" in host else socket.AF_INET), (host, int(port))


def main(address: str) -> None:
    clients = IdleClients(parse(address))
    for line in sys.stdin:
        command = json.loads(line)
        answer = getattr(clients, command.pop("do"))(**command)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
