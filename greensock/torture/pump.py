"""Sending and receiving as much as goes through at once, for clients who overdo it."""

from __future__ import annotations

import select
import ssl
from collections.abc import Sequence
from typing import Any

from greensock.torture.exchange import describe

_NOT_NOW = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
_CHUNK = 65536


class Pump:
    """A connection that is written and read without ever waiting.

    Attributes:
        sent, received: bytes so far.
        ended: how the server ended the connection, or None while it has not.
    """

    def __init__(self, sock: Any) -> None:
        sock.settimeout(0)
        self.sock = sock
        self.sent = 0
        self.received = 0
        self.ended: str | None = None

    def push(self, data: bytes) -> int:
        """Send from `data`, again and again, until the server takes no more; the bytes taken.

        Where one call ended in `data`, the next goes on.
        """
        before = self.sent
        # At most a megabyte, so that one of many pumps does not keep the others waiting.
        while self.ended is None and self.sent - before < 16 * _CHUNK:
            start = self.sent % len(data)
            try:
                self.sent += self.sock.send(data[start : start + _CHUNK])
            except _NOT_NOW:
                break
            except OSError as error:
                self.ended = describe(error)
        return self.sent - before

    def discard(self) -> int:
        """Receive what is there, up to a megabyte, and forget it; the number of bytes."""
        before = self.received
        while self.ended is None and self.received - before < 16 * _CHUNK:
            try:
                part = self.sock.recv(_CHUNK)
            except _NOT_NOW:
                break
            except OSError as error:
                self.ended = describe(error)
                break
            if not part:
                self.ended = "the server hung up"
            self.received += len(part)
        return self.received - before


def wait_for_any(pumps: Sequence[Pump], seconds: float, writing: bool = True) -> None:
    """Wait until one of the connections can be read, or written; at most `seconds`."""
    poll = select.poll()
    for pump in pumps:
        if pump.ended is None:
            poll.register(pump.sock, select.POLLIN | (select.POLLOUT if writing else 0))
    poll.poll(seconds * 1000)
