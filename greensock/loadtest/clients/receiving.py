"""Cutting replies out of what a connection brings: by line, by size, until a marker."""

from __future__ import annotations

import socket
import ssl

from locust.exception import LocustError

#: Bytes asked for by one recv. More does not pay: 64 KiB is gevent's and the kernel's usual piece.
RECEIVE_SIZE = 65536
#: Bytes after which receive_line and receive_until give up, when not told otherwise. (Arbitrary.)
RECEIVE_LIMIT = 1 << 20


class ConnectionClosed(ConnectionError):
    """The server closed the connection where more was expected.

    The text never varies, since locust makes a row of each distinct one.
    """


class StreamReceiver:
    """The receiving half of a SocketClient.

    Bytes that came with a reply but belong to the next one are kept for it.
    """

    def __init__(self, network_timeout: float | None) -> None:
        self.network_timeout = network_timeout
        #: Bytes of replies received so far.
        self.received_size = 0
        self._socket: socket.socket | None = None
        self._buffer = bytearray()

    def _open_connection(self) -> socket.socket:
        """The open socket, connected first if there is none."""
        raise NotImplementedError

    def receive(self, size: int = RECEIVE_SIZE) -> bytes:
        """At least one and at most size bytes, as soon as there are any; b"" at the end.

        Raises:
            OSError: the connection failed, or nothing came for network_timeout.
        """
        if self._buffer:
            data = bytes(self._buffer[:size])
            del self._buffer[:size]
        else:
            data = self._open_connection().recv(size)
        self.received_size += len(data)
        return data

    def receive_exactly(self, size: int) -> bytes:
        """The next size bytes.

        Raises:
            ConnectionClosed: the server closed the connection before that.
            OSError: the connection failed, or nothing came for network_timeout.
        """
        sock = self._open_connection()
        if not self._buffer:
            data = sock.recv(size) if size else b""
            if len(data) == size:
                self.received_size += size
                return data
            self._take(data)
        whole = bytearray(size)
        filled = min(len(self._buffer), size)
        whole[:filled] = self._buffer[:filled]
        del self._buffer[:filled]
        with memoryview(whole) as rest:
            while filled < size:
                got = sock.recv_into(rest[filled:])
                if not got:
                    raise ConnectionClosed("the server closed the connection within a reply")
                filled += got
        self.received_size += size
        return bytes(whole)

    def receive_until(self, marker: bytes, limit: int = RECEIVE_LIMIT) -> bytes:
        """Everything up to and with the next marker.

        Raises:
            ConnectionClosed: the server closed the connection before that.
            LocustError: there was no marker in the first limit bytes.
            OSError: the connection failed, or nothing came for network_timeout.
        """
        if not marker:
            raise ValueError("marker must not be empty")
        sock = self._open_connection()
        searched = 0
        while (found := self._buffer.find(marker, searched)) < 0:
            if len(self._buffer) >= limit:
                raise LocustError(f"no {marker!r} in the first {limit} bytes of a reply")
            searched = max(0, len(self._buffer) - len(marker) + 1)
            self._take(sock.recv(RECEIVE_SIZE))
        end = found + len(marker)
        data = bytes(self._buffer[:end])
        del self._buffer[:end]
        self.received_size += end
        return data

    def receive_line(self, limit: int = RECEIVE_LIMIT) -> bytes:
        """The next line, with its line feed. Raises what receive_until does."""
        return self.receive_until(b"\n", limit)

    def _take(self, data: bytes) -> None:
        if not data:
            within = "within a reply" if self._buffer else "before a reply"
            raise ConnectionClosed(f"the server closed the connection {within}")
        self._buffer += data

    def expect_silence(self, seconds: float) -> None:
        """Wait so long, in which the server must neither send anything nor close.

        Raises:
            ConnectionClosed: it closed the connection.
            LocustError: it sent something.
            OSError: the connection failed.
        """
        sock = self._open_connection()
        if not self._buffer:
            sock.settimeout(seconds)
            try:
                data = sock.recv(1)
            except TimeoutError:
                return
            finally:
                sock.settimeout(self.network_timeout)
            if not data:
                raise ConnectionClosed("the server closed an idle connection")
            self._take(data)
        raise LocustError("the server sent something to a client that was silent")

    def is_silent(self) -> bool:
        """Whether the connection is open and the server has sent nothing; does not wait."""
        if self._socket is None or self._buffer:
            return False
        self._socket.settimeout(0)
        try:
            # Not MSG_PEEK, which TLS sockets refuse.
            self._buffer += self._socket.recv(1)
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        except OSError:
            return False
        finally:
            self._socket.settimeout(self.network_timeout)
        return False
