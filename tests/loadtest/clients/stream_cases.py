"""Tests of SocketClient, run by test_client.py in a process that locust has patched."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from types import SimpleNamespace

import gevent
import pytest
from gevent.pool import Pool
from gevent.server import StreamServer
from locust.exception import LocustError, StopUser

from greensock.loadtest import ConnectionClosed, DatagramClient, IdleSwarm
from tests.loadtest.clients.reported_rows import Rows, echo, refused_port, sends, serving


def test_lines_are_told_apart_however_they_arrive(rows: Rows) -> None:
    with serving(sends(b"one\ntw", b"o\n", b"three\n", b"rest")) as url:
        client = rows.stream(url)
        assert [client.receive_line() for _ in range(3)] == [b"one\n", b"two\n", b"three\n"]
        assert client.receive() == b"rest"
        assert client.receive() == b""
        assert client.received_size == 18


def test_marker_split_between_two_packets_is_found(rows: Rows) -> None:
    with serving(sends(b"head\r\n\r", b"\nbody")) as url:
        client = rows.stream(url)
        assert client.receive_until(b"\r\n\r\n") == b"head\r\n\r\n"
        assert client.receive_exactly(4) == b"body"


def test_exact_size_takes_no_byte_more(rows: Rows) -> None:
    with serving(sends(b"ab", b"cdef\n")) as url:
        client = rows.stream(url)
        assert client.receive_exactly(0) == b""
        assert client.receive_exactly(3) == b"abc"
        assert client.receive_exactly(1) == b"d"
        assert client.receive_line() == b"ef\n"


def test_exact_size_goes_on_where_a_line_ended(rows: Rows) -> None:
    with serving(sends(b"3\nab", b"cx")) as url:
        client = rows.stream(url)
        assert client.receive_line() == b"3\n"
        assert client.receive_exactly(3) == b"abc"
        assert client.receive(10) == b"x"


def test_large_message_arrives_whole(rows: Rows) -> None:
    message = bytes(range(256)) * 8192

    def answer(sock: socket.socket) -> None:
        received = b""
        while len(received) < len(message):
            received += sock.recv(1 << 20)
        sock.sendall(received)

    with serving(answer) as url:
        reply = rows.stream(url).exchange(message, "large", expect=len(message), check=message)
        assert reply.ok
        assert reply.response_length == len(message)


def test_end_within_a_reply_is_a_network_error(rows: Rows) -> None:
    with serving(sends(b"half")) as url:
        client = rows.stream(url)
        with pytest.raises(ConnectionClosed, match="within a reply"):
            client.receive_exactly(8)
        client.connect()
        with pytest.raises(ConnectionClosed, match="within a reply"):
            client.receive_line()
    with serving(sends()) as url, pytest.raises(ConnectionClosed, match="before a reply"):
        rows.stream(url).receive_line()


def test_a_line_without_end_is_given_up(rows: Rows) -> None:
    with serving(sends(b"x" * 1000)) as url, pytest.raises(LocustError, match=r"no b'\\n' in"):
        rows.stream(url).receive_line(limit=100)


def test_connect_is_a_row_of_its_own_and_not_in_the_request(rows: Rows) -> None:
    with serving(echo) as url:
        client = rows.stream(url)
        reply = client.exchange(b"hello\n", "echo", check=b"hello\n")
        client.exchange(b"again\n", "echo")
    assert rows.names == [("connect", None), ("echo", None), ("echo", None)]
    first = rows.events[1]
    assert first["request_type"] == "TCP"
    assert first["response_length"] == 6
    assert first["response_time"] == reply.response_time > 0
    assert first["url"] == url
    assert abs(first["start_time"] - time.time()) < 60
    assert reply.data == b"hello\n"


def test_refused_connect_is_one_failure_and_no_request(rows: Rows) -> None:
    with refused_port() as port:
        client = rows.stream(f"tcp://127.0.0.1:{port}")
        reply = client.exchange(b"hello\n", "echo")
        assert isinstance(reply.error, ConnectionRefusedError)
        with client.request("block") as block:
            client.send(b"hello\n")
            pytest.fail("the block went on without a connection")
        assert not block.ok
    assert rows.names == [("connect", "ConnectionRefusedError")] * 2


def test_connect_refused_within_a_request_is_one_failure(rows: Rows) -> None:
    with serving(echo) as url:
        client = rows.stream(url)
        client.connect()
    with client.request("session") as reply:
        client.connect()
    assert isinstance(reply.error, ConnectionRefusedError)
    assert rows.names == [("connect", None), ("connect", "ConnectionRefusedError")]


def test_refused_connect_waits_longer_each_time(rows: Rows) -> None:
    with refused_port() as port:
        client = rows.stream(f"tcp://127.0.0.1:{port}")
        started = time.monotonic()
        for _ in range(3):
            with pytest.raises(ConnectionRefusedError):
                client.connect()
        assert time.monotonic() - started >= 0.7
    assert len(rows.events) == 3


def test_after_an_error_the_next_request_has_a_new_connection(rows: Rows) -> None:
    def once(sock: socket.socket) -> None:
        sock.sendall(sock.recv(100))
        sock.recv(100)

    with serving(once) as url:
        client = rows.stream(url)
        replies = [client.exchange(b"hello\n", "echo") for _ in range(3)]
    assert [reply.ok for reply in replies] == [True, False, True]
    assert rows.names == [
        ("connect", None),
        ("echo", None),
        ("echo", "ConnectionClosed"),
        ("connect", None),
        ("echo", None),
    ]


def test_silence_is_a_failure_after_the_network_timeout(rows: Rows) -> None:
    with serving(lambda sock: sock.recv(100) and gevent.sleep(5)) as url:
        client = rows.stream(url, network_timeout=0.05)
        reply = client.exchange(b"hello\n", "echo")
    assert isinstance(reply.error, TimeoutError)
    assert reply.response_time >= 50
    assert not client.connected


def test_failed_check_is_a_failure_and_keeps_the_connection(rows: Rows) -> None:
    with serving(echo) as url:
        client = rows.stream(url)
        assert not client.exchange(b"a\n", "bytes", check=b"b\n").ok
        assert not client.exchange(b"a\n", "false", check=lambda data: data == b"b\n").ok
        assert client.exchange(b"a\n", "none", check=lambda data: None).ok

        def asserts(data: bytes) -> None:
            assert data == b"b\n", "not b"

        assert not client.exchange(b"a\n", "assertion", check=asserts).ok
        assert client.connected
    assert [error for _, error in rows.names] == [
        None,
        "CatchResponseError",
        "CatchResponseError",
        None,
        "AssertionError",
    ]


def test_block_reports_its_own_failure(rows: Rows) -> None:
    with serving(echo) as url:
        client = rows.stream(url)
        with client.request("login") as reply:
            client.send(b"login\nname\n")
            first, second = client.receive_line(), client.receive_line()
            if first != b"welcome\n":
                reply.failure("login refused")
        assert second == b"name\n"
    assert rows.names[-1] == ("login", "CatchResponseError")
    assert str(rows.events[-1]["exception"]) == "login refused"
    assert rows.events[-1]["response_length"] == 11


def test_a_bug_is_no_sample_and_goes_on(rows: Rows) -> None:
    with serving(echo) as url:
        client = rows.stream(url)
        with pytest.raises(KeyError), client.request("buggy"):
            client.send({}["missing"])
        assert not client.connected
    assert rows.names == [("connect", None)]


def test_a_killed_request_is_no_sample_but_counted(rows: Rows) -> None:
    with serving(lambda sock: gevent.sleep(5)) as url:
        client = rows.stream(url)
        user = gevent.spawn(client.exchange, b"hello\n", "echo")
        while not client.connected:
            gevent.sleep(0)
        user.kill()
    assert rows.names == [("connect", None)]
    assert rows.counters == ["abandoned requests"]
    assert not client.connected


def test_late_request_is_timed_from_when_it_was_due(rows: Rows) -> None:
    with serving(echo) as url:
        client = rows.stream(url)
        client.connect()
        client.due = time.perf_counter() - 2.0
        assert client.exchange(b"late\n", "late").response_time >= 2000
        assert client.exchange(b"next\n", "next").response_time < 2000
        due = time.perf_counter() - 3.0
        assert client.exchange(b"told\n", "told", due=due).response_time >= 3000
    late = next(event for event in rows.events if event["name"] == "late")
    assert time.time() - late["start_time"] >= 2.0


def test_reset_is_seen_by_the_server_and_fin_is_not(rows: Rows) -> None:
    ends: list[str] = []

    def watch(sock: socket.socket) -> None:
        try:
            while sock.recv(100):
                sock.sendall(b"ok\n")
            ends.append("end")
        except ConnectionResetError:
            ends.append("reset")

    with serving(watch) as url:
        client = rows.stream(url)
        for reset in (False, True):
            client.exchange(b"hello\n", "hello")
            client.close(reset=reset)
            with gevent.Timeout(10):
                while len(ends) < 1 + reset:
                    gevent.sleep(0.005)
    assert ends == ["end", "reset"]


def test_silence_of_the_server_is_told_from_a_close_and_from_talk(rows: Rows) -> None:
    with serving(lambda sock: gevent.sleep(5)) as url:
        client = rows.stream(url)
        client.connect()
        client.expect_silence(0.02)
        assert client.is_silent()
    with serving(sends()) as url:
        client = rows.stream(url)
        client.connect()
        with pytest.raises(ConnectionClosed, match="idle"):
            client.expect_silence(5)
        assert not client.is_silent()
    with serving(sends(b"psst", b"")) as url:
        client = rows.stream(url)
        with pytest.raises(LocustError, match="sent something"):
            client.expect_silence(5)
        assert client.receive_exactly(4) == b"psst"


def test_unix_socket_and_its_row_type(rows: Rows, tmp_path: Path) -> None:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "sock"))
    listener.listen()
    server = StreamServer(listener, lambda sock, _: echo(sock), spawn=Pool())
    server.start()
    assert rows.stream(f"unix:{tmp_path}/sock").exchange(b"hello\n", "echo").ok
    server.stop(timeout=0)
    (tmp_path / "sock").unlink()
    assert [event["request_type"] for event in rows.events] == ["UNIX", "UNIX"]


def test_url_must_suit_the_client(rows: Rows) -> None:
    with pytest.raises(ValueError, match="host must begin with one of tcp:, tls:, unix: not"):
        rows.stream("udp://127.0.0.1:1")
    with pytest.raises(ValueError, match="host must begin with one of udp: not"):
        DatagramClient("tcp://127.0.0.1:1", rows.event)


def test_a_stopped_client_begins_no_request(rows: Rows) -> None:
    with serving(echo) as url:
        client = rows.stream(url)
        client.refuse_requests()
        with pytest.raises(StopUser):
            client.exchange(b"hello\n", "echo")
    assert rows.names == []


def test_swarm_keeps_the_clients_that_were_served_and_tells_which_it_lost(rows: Rows) -> None:
    served: list[socket.socket] = []

    def serve_two_of_three(sock: socket.socket) -> None:
        served.append(sock)
        if len(served) % 3:
            echo(sock)

    environment = SimpleNamespace(events=SimpleNamespace(request=rows.event))
    with serving(serve_two_of_three) as url:
        swarm = IdleSwarm(environment, url, timeout=5)  # type: ignore[arg-type]
        assert swarm.open(9, lambda client: client.exchange(b"hello\n", "first")) == 6
        assert swarm.count_lost() == 0
        served[0].shutdown(socket.SHUT_RDWR)
        served[1].sendall(b"psst")
        with gevent.Timeout(10):
            while swarm.count_lost() < 2:
                gevent.sleep(0.005)
        assert len(swarm) == 6
        swarm.close()
        assert len(swarm) == 0
    assert rows.names.count(("first", None)) == 6
