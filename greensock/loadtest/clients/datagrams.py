# A lost datagram shows only as silence, and the reply to it may still come: late, where the next
# request's reply is awaited. Two ways to tell them apart:
# - numbered: each payload begins with its number, which an echoing server sends back. Replies with
#   an older number are dropped and counted. One socket for the whole test.
# - not numbered (any protocol): after a loss the next request uses a new socket, hence another
#   port, at which a late reply of the old one cannot arrive.
"""The client of a UDP user."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Any

from greensock.loadtest.clients.client import CONNECT, SocketClient
from greensock.loadtest.clients.opening import open_socket
from greensock.loadtest.clients.receiving import RECEIVE_SIZE
from greensock.loadtest.clients.reply import Reply

LOST = "lost datagrams"
STALE = "stale replies"

#: Ten digits and a space: at 10,000 requests/s a user's numbers last for eleven days.
_NUMBER_SIZE = 11


class DatagramLost(TimeoutError):
    """No reply came within network_timeout. The request, or its reply, was lost."""


class DatagramClient(SocketClient):
    """A connected UDP socket, that reports what it does to locust.

    Connecting sends nothing and has no row. A refusal (nobody listens at the port) shows at the
    next receive, as ConnectionRefusedError; then it sleeps as after a refused connect.

    Args:
        numbered: begin each payload with a number ("0000000017 ") that the server must send back
            at the reply's begin; late replies are then dropped and counted as "stale replies".
            False sends the payload alone; after a loss the next request uses another socket.

    The other arguments are SocketClient's; network_timeout is after how many seconds a reply is
    counted as lost (None: it waits for ever).
    """

    schemes = ("udp",)

    def __init__(self, *args: Any, numbered: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.numbered = numbered
        self._number = 0

    def connect(self) -> None:
        """Make a new socket for the server's address, closing the old one.

        Raises:
            OSError: the name has no address, or none can be reached; after a sleep, and with a
                failed row "connect".
        """
        self.close()
        wall_start, start = time.time(), time.perf_counter()
        try:
            sock = open_socket(self.address, socket.SOCK_DGRAM, self.network_timeout)
        except OSError as error:
            self._report(CONNECT, wall_start, start, error)
            self._reported_error = error
            self._backoff.failed()
            raise
        self._socket = sock

    def send(self, data: bytes) -> None:
        """Send data as one datagram, with its number before it if `numbered`.

        Raises:
            OSError: too large, or an earlier datagram was refused.
        """
        sock = self._open_connection()
        if self.numbered:
            self._number += 1
            data = b"%0*d " % (_NUMBER_SIZE - 1, self._number) + data
        sock.send(data)

    def receive(self, size: int = RECEIVE_SIZE) -> bytes:
        """The next datagram, without its number if `numbered`; the rest after size bytes is lost.

        Raises:
            DatagramLost: none came within network_timeout.
            AssertionError: `numbered`, and the reply does not begin with a number.
            OSError: nobody listens there, or the network failed.
        """
        sock = self._open_connection()
        deadline: float | None = None
        try:
            while True:
                data = sock.recv(size)
                if not self.numbered or self._is_current(data):
                    break
                self._count(STALE)
                if self.network_timeout is not None:
                    # Else a stream of stale replies could put off the timeout for ever.
                    if deadline is None:
                        deadline = time.perf_counter() + self.network_timeout
                    sock.settimeout(max(0.001, deadline - time.perf_counter()))
        except TimeoutError:
            self._count(LOST)
            raise DatagramLost("no reply within the network timeout") from None
        finally:
            if deadline is not None:
                sock.settimeout(self.network_timeout)
        self.received_size += len(data)
        return data[_NUMBER_SIZE:] if self.numbered else data

    def _is_current(self, data: bytes) -> bool:
        digits = data[: _NUMBER_SIZE - 1]
        if not (len(data) >= _NUMBER_SIZE and digits.isdigit() and int(digits) <= self._number):
            raise AssertionError("the reply does not begin with the number of its request")
        return int(digits) == self._number

    def receive_exactly(self, size: int) -> bytes:
        """The next datagram, which must have size bytes (without the number).

        Raises:
            AssertionError: it has not. Otherwise what receive raises.
        """
        data = self.receive()
        if len(data) != size:
            raise AssertionError("the reply has not the expected size")
        return data

    def receive_until(self, marker: bytes, limit: int = RECEIVE_SIZE) -> bytes:
        """The next datagram, which must end with the marker.

        Raises:
            AssertionError: it does not. Otherwise what receive raises.
        """
        data = self.receive(limit)
        if not data.endswith(marker):
            raise AssertionError("the reply does not end with the expected marker")
        return data

    def exchange(
        self,
        payload: bytes,
        name: str = "exchange",
        *,
        expect: int | bytes | Callable[[], bytes] = b"",
        **options: Any,
    ) -> Reply:
        """As SocketClient.exchange; by default any one datagram is the reply."""
        return super().exchange(payload, name, expect=expect, **options)

    def _failed(self, error: BaseException) -> None:
        if not (self.numbered and isinstance(error, DatagramLost)):
            self.close()
