"""How a good answer is told from another, and what is counted as lost."""

import socket

import pytest

from greensock.torture.exchange import HttpGet, LineEcho, Lost, Pattern, WrongAnswer, ask, half_of
from greensock.torture.probe import Heard


def is_answer(exchange, received: bytes) -> bool:
    return exchange.is_answer(1, received)


def test_line_echo_waits_for_the_whole_line_and_no_other() -> None:
    line = LineEcho().question(1)
    assert not is_answer(LineEcho(), line[:-1])
    assert is_answer(LineEcho(), line)
    for other in (LineEcho().question(2), line + b"x", b"HTTP"):
        with pytest.raises(WrongAnswer):
            is_answer(LineEcho(), other)


def test_pattern_matches_from_the_first_byte() -> None:
    exchange = Pattern(b"PING\r\n", rb"\+PONG\r\n")
    assert exchange.question(7) == b"PING\r\n"
    assert not is_answer(exchange, b"+PO")
    assert is_answer(exchange, b"+PONG\r\n")


@pytest.mark.parametrize(
    ("received", "whole"),
    [
        (b"HT", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n1234", False),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nx: y\r\n\r\n12345", True),
        (b"HTTP/1.0 404 no\r\nServer: x\r\nContent-Length: 0\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n", False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n", True),
    ],
)
def test_http_answer_is_whole_with_its_body(received: bytes, whole: bool) -> None:
    assert is_answer(HttpGet("/", "here"), received) is whole


@pytest.mark.parametrize("received", [b"SSH-2.0", b"HTTP/1.1 500 oh\r\nA: b\r\n\r\n"])
def test_what_is_no_http_or_an_error_is_wrong(received: bytes) -> None:
    with pytest.raises(WrongAnswer):
        is_answer(HttpGet("/", "here"), received)


def test_half_of_a_question_ends_no_line() -> None:
    assert b"\n" not in half_of(HttpGet("/", "h"))
    assert LineEcho().question(0).startswith(half_of(LineEcho()))
    assert half_of(Pattern(b"x", b"")) == b"x"


def test_lost_exchanges_say_how() -> None:
    server, client = socket.socketpair()
    with server, client:
        with pytest.raises(Lost, match=r"no answer within 0\.01 s"):
            ask(client, LineEcho(), 1, 0.01)
        server.sendall(LineEcho().question(2)[:5])
        server.shutdown(socket.SHUT_WR)
        with pytest.raises(Lost, match="hung up amid an answer"):
            ask(client, LineEcho(), 2, 5)
        with pytest.raises(Lost, match="hung up"):
            ask(client, LineEcho(), 3, 5)


def test_p99_is_what_99_of_100_came_within() -> None:
    assert Heard([0.001] * 98 + [0.5, 1.0]).p99 == 0.5
    assert Heard([0.001] * 99 + [1.0]).p99 == 0.001
    assert Heard([2.0]).p99 == 2.0
    assert Heard().p99 == 0.0
