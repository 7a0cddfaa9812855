"""What a TLS request sends: record by record, whoever sends, in one order for all.

A record that the kernel took only half of must be offered to OpenSSL again, by whoever, before
anything else is.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from ssl import SSLError, SSLWantReadError, SSLWantWriteError
from time import monotonic
from typing import Any

from greensock.files.streams import SocketWriter
from greensock.hub.waiting import READ, WRITE
from greensock.sockets.cooperative import CooperativeSocket
from greensock.tls.locks import MASK, SHIFT, locks, wait_for
from greensock.tls.sessions import TlsSession

#: The most plaintext in one record.
RECORD_SIZE = 16384


class TlsSender(TlsSession):
    """The sending half of a TLS request."""

    __slots__ = ()

    #: Plaintext must not go past OpenSSL.
    writer_class = SocketWriter

    def _open_session(self) -> Any:
        """The OpenSSL connection, for whoever holds the lock: it may have been closed meanwhile."""
        if self.ssl_object is None:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return self.ssl_object

    def _offer(self, record: Any) -> int:
        """Give `record` to OpenSSL, or what is unsent of an earlier one; how much of it was taken.

        What was taken, but is not sent as long as it is `unsent`, OpenSSL must be given again
        before anything else: whoever comes next does that.

        Raises:
            SSLError: SSLWantReadError, SSLWantWriteError: nothing is taken before the client reads
                or says more. Another: the connection is broken.
        """
        lock = locks[id(self) >> SHIFT & MASK]
        if not lock.acquire(False):
            wait_for(lock)
        try:
            tls = self.ssl_object or self._open_session()
            if self.unsent is not None:
                tls.write(self.unsent)
                self.unsent = None
                return 0
            if not record:
                return 0
            try:
                return int(tls.write(record))
            except SSLWantWriteError:
                self.unsent = bytes(record)
                return len(record)
        except SSLError as error:
            if not isinstance(error, SSLWantReadError | SSLWantWriteError):
                self.broken_by = id(error)
            raise
        finally:
            lock.release()

    def _send_records(self, data: Any, give_up: float | None) -> Iterator[int]:
        """Send `data`, and what is unsent of an earlier call; give the size of each part taken."""
        at = 0
        # What is to be out before this is over.
        last = None if data else self.unsent
        while at < len(data) or (last is not None and self.unsent is last):
            try:
                taken = self._offer(data[at : at + RECORD_SIZE])
            except SSLWantReadError:
                wanted = READ
            except SSLWantWriteError:
                wanted = WRITE
            else:
                if taken:
                    at += taken
                    last = self.unsent
                    yield taken
                continue
            self._wait_until(wanted, give_up)

    def _send_now(self, record: Any) -> int:
        """As the `send` of a non-blocking request, which must be called again with the same bytes.

        Raises:
            SSLWantReadError, SSLWantWriteError: it is to be called again.
        """
        is_again = self.unsent is not None and self.unsent == record
        taken = self._offer(record)
        if is_again and not taken:
            return len(record)
        taken = taken or self._offer(record)
        if self.unsent is not None:
            raise SSLWantWriteError("the client does not read")
        return taken

    def send(self, data: Any, flags: int = 0, /) -> int:
        """Send `data`, all of it within one timeout; return its size.

        Of a non-blocking request up to one record; return how much that was.
        """
        if self._session() is None:
            return CooperativeSocket.send(self, data, flags)
        if flags:
            raise ValueError(f"send() of a TLS request takes no flags, not {flags}")
        with memoryview(data).cast("B") as view:
            if self.timeout == 0.0:
                return self._send_now(view[:RECORD_SIZE]) if view else 0
            return sum(self._send_records(view, self._deadline_of_call()))

    def _deadline_of_call(self) -> float | None:
        return None if self.timeout is None else monotonic() + self.timeout

    def sendall(self, data: Any, flags: int = 0, /) -> None:
        if flags or self.timeout == 0.0 or self._session() is None:
            self._send_rest(data, 0, flags)
        elif type(data) is bytes:
            taken = 0
            if len(data) <= RECORD_SIZE:
                # Mostly it goes at once, in one call less.
                try:
                    taken = self._offer(data)
                except (SSLWantReadError, SSLWantWriteError):
                    taken = 0
            if taken < len(data) or self.unsent is not None:
                for _ in self._send_records(data[taken:], self._deadline_of_call()):
                    pass
        else:
            self.send(data)

    def _send_part(self, data: Any, flags: int, give_up: float | None) -> int:
        # For what sends part by part: here that is a record.
        if self._session() is None:
            return CooperativeSocket._send_part(self, data, flags, give_up)
        return self.send(data, flags)

    def _sends_from_beginning(self, file: Any) -> bool:
        # Through OpenSSL no kernel reads it.
        return self._session() is None and CooperativeSocket._sends_from_beginning(self, file)

    def send_in_parts(self, data: bytes) -> Iterator[int]:
        # One timeout for all of them, as SSL_write has.
        if self.timeout == 0.0 or self._session() is None:
            return CooperativeSocket.send_in_parts(self, data)
        return self._send_records(data, self._deadline_of_call())

    def write(self, data: Any) -> int:
        return self.send(data)

    def sendto(self, data: Any, *args: Any) -> int:
        if self._session() is None:
            return CooperativeSocket.sendto(self, data, *args)
        raise ValueError("sendto is not for TLS sockets")

    def sendmsg(self, *args: Any) -> int:
        if self._session() is None:
            return CooperativeSocket.sendmsg(self, *args)
        raise NotImplementedError("sendmsg is not for TLS sockets")
