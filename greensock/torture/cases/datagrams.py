"""Datagrams: too large, too small, too many, and from nobody.

A datagram may be lost wherever a queue is full, so beside these clients the probe's losses are told
and not judged; afterwards it must be answered like ever.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import time

from greensock.torture.bench import Bench
from greensock.torture.exchange import half_of

#: The most that fits into an IPv4 datagram.
_LARGEST = 65507


def oversized_datagrams(bench: Bench) -> None:
    """Clients send the largest datagrams there are.

    Passes if the server answers others afterwards, and nothing stays behind.
    """
    _send(bench, [os.urandom(_LARGEST), b"x" * _LARGEST], bench.settings.resets)


def truncated_datagrams(bench: Bench) -> None:
    """Clients send datagrams that are empty, or half a request.

    Passes if the server answers others afterwards, and nothing stays behind.
    """
    _send(bench, [b"", half_of(bench.exchange), b"\0"], bench.settings.resets)


def vanished_senders(bench: Bench) -> None:
    """Clients ask and are gone before the answer.

    Passes if the server answers others afterwards, and nothing stays behind: what the network says
    of an answer that nobody took must not end it.
    """
    sent = 0
    for number in range(bench.settings.resets):
        with contextlib.suppress(OSError), bench.target.connect(1.0, bench.source()) as sock:
            sent += bool(sock.send(bench.exchange.question(number)))
    bench.note(f"{sent} datagrams")


def datagram_flood(bench: Bench) -> None:
    """Clients send as fast as they can, and never read.

    Passes if the server answers others within two seconds afterwards, its memory has not grown, and
    it uses no CPU any more.
    """
    socks = bench.clients(bench.settings.flooders)
    question = bench.exchange.question(0)
    sent = 0
    deadline = time.monotonic() + bench.settings.hold
    while sent < bench.settings.datagrams and time.monotonic() < deadline:
        for sock in socks:
            sent += _try_to_send(sock, question)
        if sent % 1000 < len(socks):
            bench.look_at_memory()
    bench.look_at_memory()
    bench.judge_memory()
    bench.note(f"{sent} datagrams within {bench.settings.hold:g} s")


def _send(bench: Bench, payloads: list[bytes], count: int) -> None:
    socks = bench.clients(bench.settings.flooders)
    sent = 0
    for number in range(count):
        payload = payloads[number % len(payloads)]
        sent += _try_to_send(socks[number % len(socks)], payload)
        # Not a flood: that is another case.
        if number % 16 == 15:
            time.sleep(0.001)
    bench.note(f"{sent} datagrams of {min(map(len, payloads))} to {max(map(len, payloads))} bytes")


def _try_to_send(sock: socket.socket, data: bytes) -> int:
    """1 if the kernel took the datagram, else 0."""
    try:
        sock.send(data)
    except OSError as error:
        # ECONNREFUSED tells of an earlier one.
        if error.errno not in (errno.ECONNREFUSED, errno.ENOBUFS, errno.EAGAIN, errno.EMSGSIZE):
            raise
        return 0
    return 1
