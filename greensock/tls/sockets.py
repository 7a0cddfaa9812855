"""Requests over TLS: request sockets whose bytes go through OpenSSL.

Each is a CooperativeSocket with an OpenSSL connection on its own descriptor: what `ssl.SSLSocket`
and gevent's have below them. `context.wrap_bio`, which is made for other people's transports,
was tried beside it (2026-11-24): a little faster (15.5-15.7 against 16.1-17.5 us to write and read
60 bytes), but its two memory BIOs keep the buffers that their largest flight needed: 17,102 bytes a
client against 14,557, more with longer certificates and after every large upload.

What OpenSSL has decrypted and nobody has taken yet makes no descriptor readable. So a turn always
takes a whole record (`read_now`), and nobody parks while `pending()` says that there is more.
"""

from __future__ import annotations

import contextlib
import select
import socket as _stdlib_socket
from _socket import MSG_DONTWAIT, MSG_PEEK, MSG_WAITALL
from ssl import (
    SSL_ERROR_EOF,
    SSLEOFError,
    SSLError,
    SSLWantReadError,
    SSLWantWriteError,
    SSLZeroReturnError,
)
from time import monotonic
from typing import Any

from gevent import monkey
from gevent.exceptions import BlockingSwitchOutError

from greensock.files.streams import FIRST_READ_SIZE, NEXT_READ_SIZE
from greensock.hub.waiting import check_open, poll
from greensock.hub.workers.demand import Demand
from greensock.lot.lot import may_be_closed
from greensock.sockets.cooperative import CooperativeSocket
from greensock.sockets.requests import BESIDE_STREAM, c_socket, forget, number_of, recv
from greensock.sockets.waiting import READS_BEFORE_YIELD
from greensock.tls.locks import MASK, SHIFT, locks, take_lock, wait_for
from greensock.tls.senders import RECORD_SIZE, TlsSender


class TlsSocket(TlsSender):
    """A TLS request whose calls block only the calling greenlet.

    It has the methods and attributes of `ssl.SSLSocket`, and is an instance of it for
    `isinstance`. What it reads comes from the same `unread` bytes as in plain requests, so that
    `rfile` and `recv()` see one stream.

    Differs from ssl.SSLSocket: the handshake is made when first needed; `shutdown(SHUT_WR)` and
    `close()` send close_notify, and reading goes on after the former; `recv` also understands
    MSG_PEEK, MSG_DONTWAIT and MSG_WAITALL; several greenlets and native threads may write at once;
    what did not go out within a timeout is sent before anything else is; reading at an end without
    close_notify raises SSLEOFError, or not, as `suppress_ragged_eofs` says, and never
    BrokenPipeError, as with OpenSSL 3.5 it may there.
    """

    __slots__ = ()

    def _wait_for(self, wanted: type[SSLError]) -> None:
        """In the `except` clause of an error of the class `wanted`: wait for what OpenSSL wants.

        The class alone, since an error that is raised on through a frame that holds it is a cycle.

        Raises:
            SSLError: the error itself, if nothing is to be waited for.
        """
        if self.timeout == 0.0:
            raise
        if issubclass(wanted, SSLWantReadError):
            self.wait_readable()
        else:
            self.wait_writable()

    # Reading.

    def _decrypt(self, size: int) -> bytes:
        # As `take_lock`, whose call would be a hundredth of an exchange.
        lock = locks[id(self) >> SHIFT & MASK]
        if not lock.acquire(False):
            wait_for(lock)
        try:
            tls = self.ssl_object
            return (tls or self._open_session()).read(size)  # type: ignore[no-any-return]
        finally:
            lock.release()

    def _at_end(self, error: OSError) -> bytes:
        """b"" if `error` is the end of the stream; else it is raised."""
        if isinstance(error, BrokenPipeError):
            # OpenSSL 3.5 answers an end without close_notify by an alert. If the client has closed
            # there is nobody to take it, and that is all that we are told.
            error = SSLEOFError(SSL_ERROR_EOF, "the stream ended without close_notify")
        if isinstance(error, SSLZeroReturnError) or (
            isinstance(error, SSLEOFError) and self._terms.suppress_ragged_eofs
        ):
            return b""
        self.broken_by = id(error)
        raise error

    def read_now(self) -> bytes | None:
        """What is there of the stream, to the end of a record; b"" at its end, None if nothing is.

        Raises:
            OSError: the connection is broken, `ssl.SSLError` if it is no TLS any more.
        """
        if self.ssl_object is None:
            try:
                return recv(self, FIRST_READ_SIZE, MSG_DONTWAIT)
            except BlockingIOError:
                return None
        while True:
            try:
                data = self._decrypt(FIRST_READ_SIZE)
                if len(data) == FIRST_READ_SIZE and (rest := self.ssl_object.pending()):
                    data += self._decrypt(rest)
            except SSLWantReadError:
                return None
            except SSLWantWriteError:
                self.wait_writable()
            except (SSLError, BrokenPipeError) as error:
                return self._at_end(error)
            else:
                return data

    def receive_within(self, seconds: float | None, demand: Demand | None = None) -> bytes | None:
        give_up = None if seconds is None else monotonic() + seconds
        while True:
            left = None if give_up is None else give_up - monotonic()
            if not self.has_pending() and not self.await_bytes(left, demand):
                return None
            data = self.read_now()
            if data is not None:
                return data

    def has_pending(self) -> bool:
        return self.ssl_object is not None and self.ssl_object.pending() > 0

    def peek_now(self) -> bytes | None:
        if self.unread or not self.handshake_done:
            return CooperativeSocket.peek_now(self)
        data = self.read_now()
        if data:
            self.unread = data
        return None if data is None else data[:1]

    def receive(self, size: int, /) -> bytes:
        if self._session() is None:
            return CooperativeSocket.receive(self, size)
        if self.timeout != 0.0 and not self._reads_left and not self.ssl_object.pending():
            # A read that finds nothing costs an exception, and one that always finds something
            # keeps the other greenlets waiting.
            self.wait_readable()
        while True:
            try:
                data = self._decrypt(size)
            except (SSLWantReadError, SSLWantWriteError) as error:
                self._wait_for(type(error))
            except (SSLError, BrokenPipeError) as error:
                return self._at_end(error)
            else:
                self._note_read(len(data) >= min(size, RECORD_SIZE))
                return data

    def _note_read(self, full: bool) -> None:
        """After a full record the next is likely to be there already."""
        if not full:
            self._reads_left = 0
        elif self._reads_left:
            self._reads_left -= 1
        else:
            self._reads_left = READS_BEFORE_YIELD

    def recv(self, bufsize: int = 1024, flags: int = 0, /) -> bytes:
        if self.unread and bufsize and not flags & BESIDE_STREAM:
            return self._take_unread(bufsize, flags)
        if bufsize < 0:
            raise ValueError("negative buffersize in recv")
        if not bufsize:
            return b""
        if flags:
            return self._receive_flagged(bufsize, flags)
        return self.receive(bufsize)

    def _receive_flagged(self, size: int, flags: int) -> bytes:
        if self._session() is None:
            return CooperativeSocket.recv(self, size, flags)
        if flags & ~(MSG_PEEK | MSG_DONTWAIT | MSG_WAITALL):
            raise ValueError(
                "recv() of a TLS request takes the flags MSG_PEEK, MSG_DONTWAIT and MSG_WAITALL, "
                f"not {flags}"
            )
        data = self.read_now() if flags & MSG_DONTWAIT else self.receive(FIRST_READ_SIZE)
        if data is None:
            raise SSLWantReadError("nothing is there to be read")
        self.unread = data
        return self._take_unread(size, flags) if data else data

    def recv_into(self, buffer: Any, nbytes: int | None = None, flags: int = 0) -> int:
        with memoryview(buffer).cast("B") as view:
            data = self.recv(nbytes or len(view), flags)
            view[: len(data)] = data
        return len(data)

    def read(self, len: int = 1024, buffer: Any = None) -> Any:
        return self.recv(len) if buffer is None else self.recv_into(buffer, len)

    def _receive_with(self, method: str, *args: Any) -> Any:
        if self._session() is None:
            return CooperativeSocket._receive_with(self, method, *args)
        raise NotImplementedError(f"{method} is not for TLS sockets")

    # The end.

    def shutdown(self, how: int, /) -> None:
        if how != _stdlib_socket.SHUT_RD:
            self._say_goodbye()
        if how != _stdlib_socket.SHUT_WR or not self.is_seen_off:
            c_socket.shutdown(self, how)

    def _say_goodbye(self) -> None:
        """Send close_notify; that of the client is not waited for."""
        if self.ssl_object is None or self._said_goodbye:
            return
        self._said_goodbye = True
        try:
            if self.has_begun:
                self.shut_session_down()
            else:
                # What is left unread makes the kernel reset the connection, and the client might
                # never read the alert that says what was wrong with its handshake.
                recv(self, NEXT_READ_SIZE, MSG_DONTWAIT)
        except (SSLWantWriteError, BlockingSwitchOutError):
            # Behind a record that is not out either there is no orderly end.
            patience = 0.0 if self.unsent is not None else self._terms.see_off(self)
            if patience:
                self._insist_on_goodbye(patience)
        except OSError:
            # Said, and no answer yet; or the client is not there any more.
            pass

    def _insist_on_goodbye(self, patience: float) -> None:
        give_up = monotonic() + patience
        timeout = self.timeout
        try:
            while (left := give_up - monotonic()) > 0:
                self.timeout = left  # type: ignore[misc]
                self.wait_writable()
                with contextlib.suppress(SSLWantWriteError):
                    self.shut_session_down()
                    break
        except OSError:
            # As in `_say_goodbye`; or its time is over.
            pass
        finally:
            self.timeout = timeout  # type: ignore[misc]

    def shut_session_down(self) -> Any:
        lock = take_lock(self)
        try:
            return self._open_session().shutdown()
        finally:
            lock.release()

    def unwrap(self) -> TlsSocket:
        """End the TLS session, wait until the client has too; return this, now a plain socket.

        Raises:
            ValueError: there is no session.
            OSError: as reading does.
        """
        if self._session() is None:
            raise ValueError("there is no TLS session to end")
        while True:
            try:
                self.shut_session_down()
            except (SSLWantReadError, SSLWantWriteError) as error:
                self._wait_for(type(error))
            except SSLError as error:
                self._at_end(error)
                break
            else:
                break
        self.ssl_object = None
        return self

    def _real_close(self, *args: Any) -> None:
        if may_be_closed(self):
            self._say_goodbye()
            if not self.is_seen_off:
                self.close_now()

    def close_now(self) -> None:
        """Close without another word."""
        # Not while another thread writes: the number may be another client's at once.
        lock = take_lock(self, insists=True)
        try:
            self.handshake_done = True
            self.ssl_object = None
            self._close_watchers()
            forget(self)
            c_socket.close(self)
        finally:
            lock.release()

    def detach(self) -> int:
        self.handshake_done = True
        self.ssl_object = None
        return CooperativeSocket.detach(self)

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError(f"cannot pickle {type(self).__name__!r} object: it has a TLS session")

    def dup(self) -> Any:
        raise NotImplementedError("a TLS socket cannot be duplicated")


class BlockingTlsSocket(TlsSocket):
    """A TLS request whose calls block the calling thread, whether that has a hub or not.

    For native threads and children. OpenSSL never blocks here either: a thread waits in `poll`,
    outside of it and its lock. That lets another thread write to a client whose own thread waits
    for its next line.
    """

    __slots__ = ()

    def _wait(self, events: int, seconds: float | None) -> None:
        fd = number_of(self)
        check_open(fd)
        if not poll(fd, events, seconds):
            raise TimeoutError("timed out")

    def await_bytes(self, seconds: float | None, demand: Demand | None) -> bool:
        poller = monkey.get_original("select", "poll")()
        poller.register(number_of(self), select.POLLIN)
        if demand is not None:
            poller.register(demand.fileno(), select.POLLIN)
        timeout = None if seconds is None else max(seconds, 0.0) * 1000
        return number_of(self) in dict(poller.poll(timeout))
