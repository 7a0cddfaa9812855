"""What a good client asks and is answered: how the tool knows that the server still works."""

from __future__ import annotations

import re
import socket
import ssl
import time
from typing import Any, Protocol

#: An answer that goes on beyond this is none. Arbitrary: more than any sensible one.
_LONGEST_ANSWER = 1 << 20


class Lost(Exception):
    """An exchange that was not answered; the text says how it failed."""


class WrongAnswer(Lost):
    """An exchange that was answered with something else."""


class Exchange(Protocol):
    """A question and how to know its answer. `number` tells one exchange from the next."""

    def question(self, number: int) -> bytes:
        """What is sent."""

    def is_answer(self, number: int, received: bytes) -> bool:
        """Whether `received` is the whole answer; False if more is needed.

        Raises:
            WrongAnswer: it is no answer to this question, whatever may follow.
        """


class LineEcho:
    """A line, answered with the same line. Each line is another: a mix-up is noticed."""

    def question(self, number: int) -> bytes:
        return b"greensock torture %09d\n" % number

    def is_answer(self, number: int, received: bytes) -> bool:
        expected = self.question(number)
        if not expected.startswith(received):
            raise WrongAnswer(f"answered {received[:80]!r} to {expected!r}")
        return received == expected


class Pattern:
    """A text, answered with whatever the regular expression matches from its first byte on."""

    def __init__(self, text: bytes, expected: bytes) -> None:
        self._text = text
        self._expected = re.compile(expected, re.DOTALL)

    def question(self, number: int) -> bytes:
        return self._text

    def is_answer(self, number: int, received: bytes) -> bool:
        if self._expected.match(received):
            return True
        if len(received) > _LONGEST_ANSWER:
            raise WrongAnswer(f"answered {received[:80]!r}, which --expect does not match")
        return False


class HttpGet:
    """A GET over HTTP/1.1, answered with any status below 500 and a body of a known length."""

    _HEAD = re.compile(rb"HTTP/1\.[01] (\d{3})[^\n]*\r?\n(.*?)\r?\n\r?\n", re.DOTALL)
    _LENGTH = re.compile(rb"^content-length:[ \t]*(\d+)", re.IGNORECASE | re.MULTILINE)
    _CHUNKED = re.compile(rb"^transfer-encoding:[ \t]*chunked", re.IGNORECASE | re.MULTILINE)

    def __init__(self, path: str, host: str) -> None:
        self._text = f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()

    def question(self, number: int) -> bytes:
        return self._text

    def is_answer(self, number: int, received: bytes) -> bool:
        if not b"HTTP/1.".startswith(received[:7]):
            raise WrongAnswer(f"answered {received[:80]!r}, which is no HTTP")
        head = self._HEAD.match(received)
        if head is None:
            return False
        if int(head[1]) >= 500:
            raise WrongAnswer(f"answered with status {int(head[1])}")
        body = received[head.end() :]
        if self._CHUNKED.search(head[2]):
            return body.endswith(b"0\r\n\r\n")
        length = self._LENGTH.search(head[2])
        return len(body) >= (int(length[1]) if length else 0)


def ask(sock: socket.socket, exchange: Exchange, number: int, patience: float) -> None:
    """One exchange on a connected socket, of streams or of datagrams.

    Raises:
        Lost: no answer within `patience` seconds, the end of the stream, or an error.
        WrongAnswer: the answer is another.
    """
    deadline = time.monotonic() + patience
    received = b""
    try:
        sock.settimeout(patience)
        sock.sendall(exchange.question(number))
        while not (received and exchange.is_answer(number, received)):
            sock.settimeout(max(deadline - time.monotonic(), 0.001))
            part = sock.recv(65536)
            if not part:
                raise Lost("the server hung up" + (" amid an answer" if received else ""))
            received += part
            if time.monotonic() > deadline and not exchange.is_answer(number, received):
                raise Lost(f"no whole answer within {patience:.2g} s")
    except TimeoutError:
        raise Lost(f"no answer within {patience:.2g} s") from None
    except OSError as error:
        raise Lost(describe(error)) from error


def describe(error: OSError) -> str:
    """An error of a socket in a few words."""
    return error.strerror or str(error) or type(error).__name__


def half_of(exchange: Exchange, number: int = 0) -> bytes:
    """The first half of a question, and none of what would end a line."""
    question = exchange.question(number)
    half = question[: max(1, len(question) // 2)]
    return half.partition(b"\n")[0] or half[:1]


def questions(exchange: Exchange, size: int) -> bytes:
    """About `size` bytes of questions, one after the other."""
    one = exchange.question(0)
    return one * max(1, size // len(one))


def is_lost(sock: Any) -> bool:
    """Whether the server has ended this connection, as far as can be told without waiting.

    What the server has sent is read, and forgotten.
    """
    sock.settimeout(0)
    try:
        while sock.recv(65536):
            pass
    except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
        return False
    except OSError:
        return True
    return True
