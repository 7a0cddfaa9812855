# What becomes a sample in locust's statistics, and what does not:
# - Each connect and each TLS handshake is a row of its own, so that what a request takes is not
#   mixed with what opening its connection took.
# - A request that never had a connection is no sample: its failed connect is one already.
# - Only what the network or a check did (OSError, LocustError, AssertionError) is a failed sample.
#   Anything else is a bug of the locustfile: it goes on to locust, which lists it as an exception
#   and ends with another exit status. Swallowing it would show a broken script as a broken server.
# - After an error the stream may hold the rest of a late reply, which the next request would take
#   for its own; so the connection is closed and the next request opens another. Not after a failed
#   check: its reply was complete.
"""The client of a socket user: streams over TCP, TLS or a Unix socket."""

from __future__ import annotations

import socket
import ssl
import struct
import time
from collections.abc import Callable, Mapping
from typing import Any

import gevent
from locust.event import EventHook
from locust.exception import LocustError, StopUser

from greensock.loadtest.clients.address import parse_address
from greensock.loadtest.clients.backoff import Backoff
from greensock.loadtest.clients.opening import default_ssl_context, open_stream
from greensock.loadtest.clients.receiving import StreamReceiver
from greensock.loadtest.clients.reply import Reply

#: The names of the rows for what is not a request.
CONNECT = "connect"
HANDSHAKE = "TLS handshake"

#: Counted apart from requests: those under way when locust stopped their user.
ABANDONED = "abandoned requests"

#: SO_LINGER, on, 0 seconds: close sends RST.
_LINGER_RESET = struct.pack("ii", 1, 0)

SAMPLED_ERRORS = (OSError, LocustError, AssertionError)


class SocketClient(StreamReceiver):
    """A connection to a server, that reports what it does to locust.

    A SocketUser makes one as `self.client`. It connects when it is first used and again after an
    error. Not to be shared by greenlets.

    Args:
        url: tcp://HOST:PORT, tls://HOST:PORT or unix:PATH (udp:// is DatagramClient's).
        request_event: where requests are reported: `environment.events.request`.
        connection_timeout: seconds for the connect, and for the TLS handshake. None: no limit.
        network_timeout: seconds that one send or receive may wait. None: no limit.
        ssl_context: for tls://; None is ssl.create_default_context(), for which the environment
            variable SSL_CERT_FILE names a certificate to trust.
        context: returns what locust's request event carries as its context.
        count: told the name of what is counted apart from requests.

    Raises:
        ValueError: url is none of the forms above.
    """

    schemes: tuple[str, ...] = ("tcp", "tls", "unix")

    def __init__(
        self,
        url: str,
        request_event: EventHook,
        *,
        connection_timeout: float | None = 10.0,
        network_timeout: float | None = 10.0,
        ssl_context: ssl.SSLContext | None = None,
        context: Callable[[], Mapping[str, Any]] = dict,
        count: Callable[[str], object] = lambda _counter: None,
    ) -> None:
        super().__init__(network_timeout)
        self.address = parse_address(url)
        if self.address.scheme not in self.schemes:
            allowed = ", ".join(f"{scheme}:" for scheme in self.schemes)
            raise ValueError(f"host must begin with one of {allowed} not {url!r}")
        self.url = str(self.address)
        self.connection_timeout = connection_timeout
        #: The perf_counter reading from which the next request is timed, if it is late; a Schedule
        #: sets it, the next request takes it.
        self.due: float | None = None
        self._request_event = request_event
        self._ssl_context = ssl_context
        self._stopped = False
        self._context = context
        self._count = count
        self._backoff = Backoff(gevent.sleep)
        #: Why the request that is under way has no connection.
        self._connect_error: OSError | None = None
        #: The error of the last failed connect, which is a sample already.
        self._reported_error: OSError | None = None

    @property
    def connected(self) -> bool:
        """Whether a connection is open on this side; the server may have closed it since."""
        return self._socket is not None

    # -- opening and closing

    def connect(self) -> None:
        """Open a new connection, closing the old one; a row "connect", for tls another.

        Called by itself when there is no connection. After a failure it sleeps before it raises:
        0.1 s, doubling up to 1 s until a connect succeeds.

        Raises:
            OSError: refused, timed out, or the TLS handshake failed (ssl.SSLError).
        """
        self.close()
        sock: socket.socket | None = None
        row = CONNECT
        wall_start, start = time.time(), time.perf_counter()
        try:
            sock = open_stream(self.address, self.connection_timeout)
            self._report(row, wall_start, start, None)
            if self.address.scheme == "tls":
                row = HANDSHAKE
                wall_start, start = time.time(), time.perf_counter()
                sock = (self._ssl_context or default_ssl_context()).wrap_socket(
                    sock, server_hostname=self.address.host
                )
                self._report(row, wall_start, start, None)
        except OSError as error:
            if sock is not None:
                sock.close()
            self._report(row, wall_start, start, error)
            self._reported_error = error
            self._backoff.failed()
            raise
        sock.settimeout(self.network_timeout)
        self._socket = sock
        self._backoff.succeeded()

    def close(self, reset: bool = False) -> None:
        """Close the connection, if there is one, and forget what was received but not taken.

        With reset, TCP sends RST instead of FIN: this side keeps no TIME_WAIT, the server's read
        fails with ECONNRESET.
        """
        sock, self._socket = self._socket, None
        if self._buffer:
            self._buffer = bytearray()
        if sock is None:
            return
        if reset and self.address.scheme in ("tcp", "tls"):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RESET)
        sock.close()

    def _open_connection(self) -> socket.socket:
        if self._socket is None:
            if self._connect_error is not None:
                raise self._connect_error
            self.connect()
            assert self._socket is not None
        return self._socket

    # -- sending; receiving.py receives. An error of these is a sample only inside a request.

    def send(self, data: bytes) -> None:
        """Send all of data, connecting first if need be.

        Raises:
            OSError: the connection failed, or took longer than network_timeout.
        """
        sock = self._open_connection()
        # sendall first asks for SO_SNDBUF, 7 % of this process's time with small requests.
        sent = sock.send(data)
        if sent < len(data):
            sock.sendall(memoryview(data)[sent:])

    # -- requests

    def refuse_requests(self) -> None:
        """Let each further request raise StopUser: the user is about to be killed."""
        self._stopped = True

    def request(self, name: str, due: float | None = None) -> Reply:
        """A block that is one request in locust's statistics, whatever it sends and receives.

            with self.client.request("login") as reply:
                self.client.send(b"login\\n")
                if self.client.receive_line() != b"ok\\n":
                    reply.failure("login refused")

        Time runs from the block's begin, after connecting if that was needed; or from due, a
        time.perf_counter() reading. None is what the user's Schedule says. An OSError, LocustError
        or AssertionError ends the block and is its failure; other exceptions pass through and are
        no sample.

        name is a row of locust's tables: keep it constant, without ids.
        """
        if due is None:
            due = self.due
        self.due = None
        return Reply(self, name, due)

    def exchange(
        self,
        payload: bytes,
        name: str = "exchange",
        *,
        expect: int | bytes | Callable[[], bytes] = b"\n",
        check: bytes | Callable[[bytes], object] | None = None,
        due: float | None = None,
    ) -> Reply:
        """Send payload, receive its reply, and report both as one request.

        Args:
            expect: how the reply ends: after so many bytes, with this marker, or where a function
                has taken it from the receive methods and returned it. A datagram ends by itself.
            check: what the reply must be, or a function of it that returns False or raises
                AssertionError if it is wrong. None: any reply will do.
            name, due: as in `request`.

        Returns the Reply: with `ok` False and the `error` if it failed; it does not raise that.
        """
        with self.request(name, due) as reply:
            self.send(payload)
            reply.data = data = self._receive_reply(expect)
            if check is None or data == check:
                pass
            elif isinstance(check, bytes) or check(data) is False:
                reply.failure("the reply is not what was expected")
        return reply

    def _receive_reply(self, expect: int | bytes | Callable[[], bytes]) -> bytes:
        if isinstance(expect, bytes):
            return self.receive_until(expect)
        if isinstance(expect, int):
            return self.receive_exactly(expect)
        return expect()

    def begin_request(self, reply: Reply) -> None:
        if self._stopped:
            raise StopUser
        self._connect_error = None
        if self._socket is None:
            try:
                self.connect()
            except OSError as error:
                # Raising here would skip the block, which a with statement cannot do; so the
                # block's first send or receive raises it.
                self._connect_error = reply.error = error

    def end_request(self, reply: Reply, error: BaseException | None) -> bool:
        """Report the request; True if the error is thereby dealt with."""
        unconnected, self._connect_error = self._connect_error, None
        if error is None:
            if unconnected is not None:
                return True
            self._backoff.succeeded()
        elif error is self._reported_error:
            reply.error = error
            return True
        elif isinstance(error, SAMPLED_ERRORS):
            reply.error = error
            if not isinstance(error, AssertionError):
                self._failed(error)
        else:
            if isinstance(error, gevent.GreenletExit):
                # The server may count it: locust killed the user before the answer came.
                self._count(ABANDONED)
            self.close()
            return False
        self._request_event.fire(
            request_type=self.address.request_type,
            name=reply.name,
            response_time=reply.response_time,
            response_length=reply.response_length,
            response=reply,
            context=self._context(),
            exception=reply.error,
            start_time=reply.start_time,
            url=self.url,
        )
        if isinstance(error, ConnectionRefusedError):
            self._backoff.failed()
        return True

    def _failed(self, error: BaseException) -> None:
        self.close()

    def _report(self, name: str, wall_start: float, start: float, error: OSError | None) -> None:
        self._request_event.fire(
            request_type=self.address.request_type,
            name=name,
            response_time=(time.perf_counter() - start) * 1000,
            response_length=0,
            response=None,
            context=self._context(),
            exception=error,
            start_time=wall_start,
            url=self.url,
        )
