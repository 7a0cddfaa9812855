"""Context variables: what a client's handler keeps there is its own, for as long as it lives."""

import contextvars
import os
import threading
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from greensock import StreamRequestHandler
from greensock.testing import running

from ..clients import (
    ask,
    clients,
    connect,
    eventually,
    exchange,
    wait_until_parked,
    wait_until_silent,
)
from ..separate_process import HERE, NATIVE_THREADS, PATCHED
from ..server_kinds import FORKING, GREENLET, MIXINS, NONE, Echo, make_server, under_every_mixin

pytest_plugins = ["tests.alone"]

everywhere = pytest.mark.parametrize("mode", [HERE, PATCHED, NATIVE_THREADS])

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")
other: contextvars.ContextVar[str] = contextvars.ContextVar("other", default="unset")


class Keeping(Echo):
    """A line sets the second variable, an empty one nothing; answers with both."""

    def setup(self) -> None:
        super().setup()
        variable.set(str(self.client_address[1]))

    def handle_one_request(self) -> None:
        line = self.rfile.readline().decode().strip()
        if line:
            other.set(line)
        self.wfile.write(f"{variable.get()} {other.get()}\n".encode())


class Parkable(Keeping):
    parkable = True


class Classic(StreamRequestHandler):
    def setup(self) -> None:
        super().setup()
        variable.set(str(self.client_address[1]))

    def handle(self) -> None:
        while line := self.rfile.readline().decode():
            if line.strip():
                other.set(line.strip())
            self.wfile.write(f"{variable.get()} {other.get()}\n".encode())


def take_turns(mixin: str, name: str) -> None:
    server = make_server(mixin, globals()[name], linger=0.001)
    parks = name != "Classic" and (mixin, name) != (FORKING, "Keeping")
    is_made_anew = (mixin, name) == (FORKING, "Parkable")
    count = 1 if (mixin, parks) == (NONE, False) else 3
    with running(server) as address, clients(address, count) as each:
        seen = ["unset"] * count
        for turn in range(6):
            number = turn % count
            client = each[number]
            own = str(client.getsockname()[1])
            says = f"{own}-{turn}" if turn // count == 1 else ""
            # Made anew in each child, a handler has what its setup() keeps, and no more.
            seen[number] = says or ("unset" if is_made_anew else seen[number])
            assert ask(client, says.encode() + b"\n").decode() == f"{own} {seen[number]}\n"
            if parks:
                wait_until_parked(server, count)
    assert variable.get() == other.get() == "unset"
    eventually(lambda: not server._greensock.contexts)


@everywhere
@under_every_mixin
@pytest.mark.parametrize("name", ["Keeping", "Parkable", "Classic"])
def test_context_is_the_clients_own_in_each_turn(alone, mode: str, mixin: str, name: str) -> None:
    alone(mode, take_turns, mixin, name)


def take_turns_over_http(mixin: str) -> None:
    local = threading.local()

    class Page(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            variable.set(str(self.client_address[1]))
            local.value = variable.get()

        def do_GET(self) -> None:
            body = f"{variable.get()} {local.value}\n".encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = make_server(mixin, Page, linger=0.001)
    with running(server) as address, clients(address, 1 if mixin == NONE else 2) as each:
        for _ in range(3):
            for client in each:
                own = str(client.getsockname()[1])
                answer = f"{own} {own}\n".encode()
                exchange(client, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", answer)


@pytest.mark.parametrize(
    ("mode", "mixin"),
    # Greenlets of an unpatched process share what is thread-local, whoever runs them.
    [(HERE, mixin) for mixin in MIXINS if mixin != GREENLET]
    + [(PATCHED, mixin) for mixin in MIXINS],
)
def test_what_setup_of_http_keeps_for_its_thread_is_there_in_each_request(
    alone, mode: str, mixin: str
) -> None:
    alone(mode, take_turns_over_http, mixin)


def end_in_context(mixin: str, how: str) -> None:
    read_end, write_end = os.pipe()

    class Noting(Keeping):
        def finish(self) -> None:
            os.write(write_end, f"{variable.get()}\n".encode())
            super().finish()

    def on_drain(server: Any, handler: Any) -> None:
        os.write(write_end, f"{variable.get()}\n".encode())

    Noting.timeout = 0.3 if how == "timeout" else None
    server = make_server(mixin, Noting, linger=0.001, on_drain=on_drain)
    with running(server) as address:
        client, client_too = connect(address), connect(address)
        own, own_too = (str(each.getsockname()[1]) for each in (client, client_too))
        for each in (client, client_too):
            ask(each, b"\n")
        if mixin == FORKING:
            wait_until_silent(server, 2)
        else:
            wait_until_parked(server, 2)
        if how == "leave":
            client.close()
            client_too.close()
        elif how == "drain":
            server.drain(20)
        elif how == "stop":
            server.shutdown()
            server.server_close()
        elif how == "close":
            server.server_close()
        eventually(lambda: server.stats().open == 0)
        client.close()
        client_too.close()
    said = sorted(os.read(read_end, 1000).decode().split())
    os.close(read_end)
    os.close(write_end)
    assert said == sorted([own, own_too] * (2 if how == "drain" else 1))
    assert variable.get() == "unset"


@pytest.mark.parametrize("mode", [HERE, PATCHED])
@under_every_mixin
@pytest.mark.parametrize("how", ["leave", "timeout", "drain", "close", "stop"])
def test_client_is_ended_in_its_context(alone, mode: str, mixin: str, how: str) -> None:
    alone(mode, end_in_context, mixin, how)


def serve_in_a_context(mixin: str) -> None:
    """What the program has set for the thread that serves stays there, and as it is."""
    server = make_server(mixin, Keeping, linger=0.001)
    found: list[str] = []

    def serve() -> None:
        other.set("the program's")
        server.serve_forever()
        found.append(f"{variable.get()} {other.get()}")

    thread = threading.Thread(target=serve)
    thread.start()
    with clients(server.server_address, 2) as each:
        for line, seen in ((b"", None), (b"", None), (b"own", "own"), (b"", "own")):
            for client in each:
                answer = ask(client, line + b"\n").decode().strip()
                name, _, value = answer.partition(" ")
                assert name == str(client.getsockname()[1])
                assert value == (seen or ("the program's" if mixin in (NONE, FORKING) else "unset"))
    server.shutdown()
    thread.join()
    server.server_close()
    assert found == ["unset the program's"]


@pytest.mark.parametrize("mode", [HERE, PATCHED])
@under_every_mixin
def test_context_of_the_serving_thread_is_left_as_it_is(alone, mode: str, mixin: str) -> None:
    alone(mode, serve_in_a_context, mixin)
