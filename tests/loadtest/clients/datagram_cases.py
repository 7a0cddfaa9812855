"""Tests of DatagramClient, run by test_client.py in a process that locust has patched."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from gevent.server import DatagramServer

from tests.loadtest.clients.reported_rows import Rows, refused_port


@contextlib.contextmanager
def answering(answer: Callable[[bytes], list[bytes]]) -> Iterator[str]:
    """A UDP server that sends what answer returns."""

    class Server(DatagramServer):  # type: ignore[misc]
        def handle(self, data: bytes, address: object) -> None:
            for part in answer(data):
                self.socket.sendto(part, address)

    server = Server(("127.0.0.1", 0))
    server.start()
    try:
        yield f"udp://127.0.0.1:{server.server_port}"
    finally:
        server.stop()


def test_numbered_datagram_shows_only_its_payload(rows: Rows) -> None:
    seen: list[bytes] = []
    with answering(lambda data: [seen.append(data) or data]) as url:  # type: ignore[func-returns-value]
        client = rows.datagrams(url, numbered=True)
        replies = [client.exchange(b"hello", "echo", check=b"hello") for _ in range(2)]
    assert [reply.ok for reply in replies] == [True, True]
    assert seen == [b"0000000001 hello", b"0000000002 hello"]
    assert rows.names == [("echo", None)] * 2


def test_late_reply_is_dropped_and_counted(rows: Rows) -> None:
    held: list[bytes] = []

    def late(data: bytes) -> list[bytes]:
        if data.startswith(b"0000000001"):
            held.append(data)
            return []
        return [*held, *held, data]

    with answering(late) as url:
        client = rows.datagrams(url, numbered=True, network_timeout=0.05)
        lost = client.exchange(b"first", "echo")
        found = client.exchange(b"second", "echo", check=b"second")
    assert rows.names == [("echo", "DatagramLost"), ("echo", None)]
    assert rows.counters == ["lost datagrams", "stale replies", "stale replies"]
    assert (lost.ok, found.data) == (False, b"second")


def test_stale_replies_do_not_put_off_the_timeout(rows: Rows) -> None:
    def always_stale(data: bytes) -> list[bytes]:
        return [] if data.startswith(b"0000000001") else [b"0000000001 x"] * 3

    with answering(always_stale) as url:
        client = rows.datagrams(url, numbered=True, network_timeout=0.05)
        client.exchange(b"x", "echo")
        assert not client.exchange(b"x", "echo").ok
    assert rows.counters.count("stale replies") == 3
    assert rows.counters.count("lost datagrams") == 2


def test_reply_without_its_number_is_a_failure(rows: Rows) -> None:
    with answering(lambda data: [b"hello"]) as url:
        rows.datagrams(url, numbered=True).exchange(b"x", "echo")
    assert rows.names == [("echo", "AssertionError")]


def test_without_numbers_a_loss_changes_the_socket(rows: Rows) -> None:
    seen: list[bytes] = []

    def answer(data: bytes) -> list[bytes]:
        seen.append(data)
        return [] if len(seen) == 1 else [data]

    with answering(answer) as url:
        client = rows.datagrams(url, network_timeout=0.05)
        assert not client.exchange(b"first", "echo").ok
        assert not client.connected
        assert client.exchange(b"second", "echo").data == b"second"
    assert seen == [b"first", b"second"]


def test_refused_datagrams_wait_longer_each_time(rows: Rows) -> None:
    with refused_port() as port:
        # A TCP port in use says nothing of the UDP port; its number is merely one likely free.
        client = rows.datagrams(f"udp://127.0.0.1:{port}", network_timeout=5.0)
        started = time.monotonic()
        for _ in range(3):
            client.exchange(b"hello", "echo")
        assert time.monotonic() - started >= 0.7
    assert rows.names == [("echo", "ConnectionRefusedError")] * 3
