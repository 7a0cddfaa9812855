"""What a server counts and tells, against what its clients have counted."""

import contextlib
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from greensock import StreamRequestHandler
from greensock.testing import running

from ..clients import (
    answer_of,
    ask,
    connect,
    eventually,
    receive_all,
    receive_line,
    wait_until_parked,
)
from ..server_kinds import (
    CONCURRENT,
    FORKING,
    GREENLET,
    HANDLERS,
    MIXINS,
    UNIX_STREAM,
    Echo,
    make_server,
    patched_or_not,
    server_class,
    under_every_mixin,
)

pytest_plugins = ["tests.alone"]


class Varied(Echo):
    """Does what each line says; errors of its are nobody's but the counters'."""

    def handle_one_request(self) -> None:
        line = self.rfile.readline()
        if line == b"fail\n":
            raise LookupError("as asked")
        if line == b"reset\n":
            raise ConnectionResetError
        if line == b"stop\n":
            self.close_connection = True
        if line == b"wait\n":
            self.request.settimeout(0.01)
            self.rfile.readline()
        self.wfile.write(line)


class VariedWhole(StreamRequestHandler):
    def handle(self) -> None:
        Varied.handle_one_request(self)  # type: ignore[arg-type]


class Tally:
    """What the clients have counted."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.counts: dict[str, int] = {}

    def add(self, what: str) -> None:
        with self._lock:
            self.counts[what] = self.counts.get(what, 0) + 1


def load(mixin: str, handler: str) -> None:
    """Clients of every kind at once; at the end each has been counted, once."""
    kind = {"Varied": Varied, "VariedWhole": VariedWhole}[handler]
    server = make_server(
        mixin, kind, max_connections=6, overflow="reject", reject_request=busy, linger=0.001
    )
    tally = Tally()

    def be_client(address: Any, first: int) -> None:
        for number in range(first, first + 10):
            with connect(address) as client:
                what = ["echo", "fail", "reset", "wait", "stop"][number % 5]
                with contextlib.suppress(ConnectionError):
                    client.sendall(f"{what}\n".encode())
                answer = b""
                with contextlib.suppress(ConnectionError):
                    while not answer.endswith(b"\n") and (byte := client.recv(1)):
                        answer += byte
                tally.add("busy" if answer == b"busy\n" else what)

    with running(server) as address:
        threads = [threading.Thread(target=be_client, args=(address, n)) for n in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        eventually(lambda: server.stats().open == 0)
        stats = server.stats()
    counts = tally.counts
    assert stats.accepted == sum(counts.values()) == 120
    assert stats.rejected == counts.get("busy", 0)
    assert stats.errors == counts.get("fail", 0)
    assert stats.disconnects >= counts.get("reset", 0)
    assert stats.timeouts_by_kind == ({"handler": counts["wait"]} if "wait" in counts else {})
    assert stats.timeouts == counts.get("wait", 0)
    assert (stats.open, stats.parked, stats.busy) == (0, 0, 0)
    assert stats.uptime > 0
    assert server.stats().uptime == 0.0


def busy(self: Any, request: Any, client_address: Any) -> None:
    request.sendall(b"busy\n")


@patched_or_not
@pytest.mark.parametrize(
    ("mixin", "handler"),
    [
        *((mixin, "Varied") for mixin in MIXINS),
        *((mixin, "VariedWhole") for mixin in MIXINS),
    ],
)
@pytest.mark.expect_warnings("LookupError: as asked")
def test_counters_agree_with_the_clients_own(alone, mode: str, mixin: str, handler: str) -> None:
    alone(mode, load, mixin, handler)


def carry(mixin: str, handler: str) -> None:
    """Clients who end in every way; the server has counted the bytes that they have."""
    server = make_server(mixin, HANDLERS[handler], linger=0.001, count_bytes=True)
    sent = received = 0

    def told() -> tuple[int | None, int | None]:
        stats = server.stats()
        return stats.bytes_received, stats.bytes_sent

    with running(server) as address:
        for number in range(7):
            with connect(address) as client:
                for _ in range(number % 3):
                    line = b"x" * 5**number + b"\n"
                    assert ask(client, line) == line
                    sent += len(line)
                    received += len(line)
                if number % 4 == 1:
                    # Its end is no byte, nor the answer to the half of a line that comes before it.
                    client.sendall(b"half")
                    client.shutdown(socket.SHUT_WR)
                    sent += 4
                    received += len(receive_all(client))
                elif number % 4 == 2 and mixin != FORKING:
                    # A child holds its parent's sockets, this client's too: it would meet no reset.
                    client.reset()
        eventually(lambda: told() == (sent, received))
        eventually(lambda: server.stats().open == 0)
    assert told() == (sent, received)
    assert sent > 10


@patched_or_not
@pytest.mark.parametrize("handler", HANDLERS)
@under_every_mixin
def test_bytes_agree_with_the_clients_own(alone, mode: str, mixin: str, handler: str) -> None:
    alone(mode, carry, mixin, handler)


@under_every_mixin
def test_bytes_are_counted_only_where_they_are_asked_for(mixin: str) -> None:
    server = make_server(mixin, Echo)
    with running(server) as address:
        assert answer_of(address, b"x\n") == b"x\n"
    assert server.stats()[-2:] == (None, None)
    assert server._greensock.counters.bytes_received == 0


def test_clients_of_unix_sockets_have_bytes_that_nobody_counts(tmp_path: Path) -> None:
    server = server_class(GREENLET, UNIX_STREAM)(str(tmp_path / "s"), Echo)
    server.count_bytes = True
    with running(server) as address:
        assert answer_of(address, b"x\n") == b"x\n"
        eventually(lambda: server.stats().open == 0)
    (tmp_path / "s").unlink()
    assert server.stats().bytes_received == server.stats().bytes_sent == 0


def count_states(mixin: str, handler: str) -> None:
    server = make_server(mixin, HANDLERS[handler], linger=0.001)
    with running(server) as address, connect(address) as idle, connect(address) as other:
        assert ask(idle, b"x\n") == b"x\n"
        if handler == "Echo":
            wait_until_parked(server, 2)
            assert server.stats().busy == 0
        elif mixin != "none":
            assert ask(other, b"x\n") == b"x\n"
            stats = server.stats()
            assert (stats.open, stats.busy, stats.parked) == (2, 2, 0)


@under_every_mixin
@pytest.mark.parametrize("handler", HANDLERS)
def test_open_clients_are_parked_or_busy(mixin: str, handler: str) -> None:
    count_states(mixin, handler)


def trace(mixin: str, handler: str) -> None:
    seen: dict[Any, list[str]] = {}

    def on_connection(self: Any, state: str, request: Any, client_address: Any) -> None:
        seen.setdefault(client_address, []).append(state)

    server = make_server(mixin, HANDLERS[handler], on_connection=on_connection, linger=0.001)
    with running(server) as address:
        with connect(address) as client:
            name = client.getsockname()
            if handler == "Echo":
                wait_until_parked(server, 1)
            assert ask(client, b"x\n") == b"x\n"
            if handler == "Echo":
                wait_until_parked(server, 1)
                assert ask(client, b"y\n") == b"y\n"
                wait_until_parked(server, 1)
                assert seen[name] == ["new", "parked", "busy", "parked", "busy", "parked"]
            else:
                assert seen[name] == ["new", "busy"]
        eventually(lambda: "closed" in seen[name])
    assert seen[name][-2:] == ["busy", "closed"]


@patched_or_not
@pytest.mark.parametrize(
    ("mixin", "handler"),
    [*((mixin, "Echo") for mixin in MIXINS), *((mixin, "ClassicEcho") for mixin in CONCURRENT)],
)
def test_program_is_told_what_becomes_of_a_client(
    alone, mode: str, mixin: str, handler: str
) -> None:
    alone(mode, trace, mixin, handler)


def test_every_client_is_told_of_as_closed_even_by_the_servers_end() -> None:
    seen: list[str] = []

    def on_connection(self: Any, state: str, request: Any, client_address: Any) -> None:
        seen.append(state)

    server = make_server(GREENLET, Echo, on_connection=on_connection)
    with connect(server.server_address) as client:
        client.sendall(b"x\n")
        with running(server):
            assert receive_line(client) == b"x\n"
            wait_until_parked(server, 1)
    # Having spoken before it was accepted, it had nothing to wait for.
    assert seen == ["new", "busy", "parked", "closed"]


@pytest.mark.parametrize("mixin", [mixin for mixin in MIXINS if mixin != FORKING])
def test_client_who_was_gone_before_it_was_accepted_is_a_disconnect(mixin: str) -> None:
    server = make_server(mixin, Echo)
    with connect(server.server_address) as client:
        client.sendall(b"x\n")
        client.reset()
    with running(server):
        eventually(lambda: server.stats().disconnects == 1)
        eventually(lambda: server.stats().open == 0)


@under_every_mixin
def test_hook_that_fails_is_handled_and_costs_no_client(mixin: str) -> None:
    handled: list[Any] = []

    def on_connection(self: Any, state: str, request: Any, client_address: Any) -> None:
        raise LookupError(state)

    def handle_error(self: Any, request: Any, client_address: Any) -> None:
        handled.append(client_address)

    server = make_server(mixin, Echo, on_connection=on_connection, handle_error=handle_error)
    with running(server) as address:
        assert answer_of(address, b"x\n") == b"x\n"
        assert handled
