"""The session of a TLS request: how it begins, what there is to know of it.

The handshake is made bit by bit, by whoever serves the request, and never by accept: see
`greensock.tls.turns`. The OpenSSL connection, 14 KB, does not exist before the first byte.
"""

from __future__ import annotations

import _thread
import math
import os
import ssl as _stdlib_ssl
from collections.abc import Callable
from ssl import SSLWantReadError, SSLWantWriteError
from time import monotonic
from typing import Any

from greensock.hub.waiting import READ, WRITE
from greensock.noted import option_limits
from greensock.noted.option_limits import limits
from greensock.sockets.cooperative import CooperativeSocket
from greensock.sockets.requests import c_socket
from greensock.sockets.waiting import checked_timeout
from greensock.tls.locks import take_lock

# What is left of a handshake's time is rounded up to this many seconds: the lot keeps clients with
# the same timeout together, so that this is what keeps its lists few.
_TIMEOUT_STEP = 0.25


class Terms:
    """What the TLS clients of a server have in common.

    Args:
        context: gives the `ssl.SSLContext` for a client whose handshake begins.
        handshake_timeout: seconds from accept to the end of the handshake, or None.
        suppress_ragged_eofs: as for `ssl.SSLContext.wrap_socket`.
        see_off: called with a request for whose close_notify the kernel has no room. It takes over,
            or returns for how many seconds the caller may wait.
    """

    def __init__(
        self,
        context: Callable[[], Any],
        handshake_timeout: float | None,
        suppress_ragged_eofs: bool,
        see_off: Callable[[Any], float],
    ) -> None:
        self.context = context
        self.handshake_timeout = handshake_timeout
        self.suppress_ragged_eofs = suppress_ragged_eofs
        self.see_off = see_off


#: Held while a context is changed (`tls.contexts.replace_certificate`) or a connection made from
#: it: OpenSSL copies a context's certificate without a lock. Signal handlers may come in between.
context_lock = _thread.RLock()

# Nor is there to be anybody amid that at a fork, who would hold locks of OpenSSL's for ever in the
# child: it would hang in its handshake.
os.register_at_fork(
    before=context_lock.acquire,
    after_in_parent=context_lock.release,
    after_in_child=context_lock.release,
)


class TlsSession(CooperativeSocket):
    """What a TLS request knows of its session, and the handshake that begins it."""

    # With a dictionary, as ssl.SSLSocket, which programs set attributes of.
    __slots__ = (
        "__dict__",
        "_deadline",
        "_later_timeout",
        "_reads_left",
        "_said_goodbye",
        "_terms",
        "broken_by",
        "handshake_done",
        "has_begun",
        "is_seen_off",
        "ssl_object",
        "unsent",
    )

    server_side = True
    server_hostname = None
    do_handshake_on_connect = False

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return _stdlib_ssl.SSLSocket

    def __init__(
        self,
        family: int = -1,
        type: int = -1,
        proto: int = -1,
        fileno: int | None = None,
        *,
        terms: Terms,
    ) -> None:
        CooperativeSocket.__init__(self, family, type, proto, fileno)
        self._terms = terms
        self.ssl_object: Any = None
        #: Whether nothing of the handshake is to come; then without `ssl_object` this is a plain
        #: socket (`unwrap`) or closed.
        self.handshake_done = False
        #: Whether a handshake has led to a session.
        self.has_begun = False
        #: A record that OpenSSL has begun to send, to be finished before all else.
        self.unsent: bytes | None = None
        self._said_goodbye = False
        #: Whether somebody waits to send its close_notify, who closes it then.
        self.is_seen_off = False
        #: The id of the error that ended the session, so that it is known as the client's.
        self.broken_by = 0
        # Always 0: what OpenSSL reads of the descriptor is its own affair (see run_turn).
        self.reads_left = 0
        self._reads_left = 0
        #: The timeout that holds once the handshake is over.
        self._later_timeout = self.timeout
        limit = terms.handshake_timeout
        self.timeout = limit  # type: ignore[misc]
        self._deadline = None if limit is None else monotonic() + limit

    # The handshake.

    def handshake_now(self) -> bool:
        """Go on with the handshake as far as the bytes that are there allow; say if it is over.

        Raises:
            OSError: it has failed (`ssl.SSLError`), or is not over in time (TimeoutError).
        """
        self._bound_by_deadline()
        while True:
            try:
                self._shake_hands()
            except SSLWantReadError:
                return False
            except SSLWantWriteError:
                self.wait_writable()
                self._bound_by_deadline()
            else:
                self.handshake_done = self.has_begun = True
                self.timeout = self._later_timeout  # type: ignore[misc]
                return True

    def _bound_by_deadline(self) -> None:
        if self._deadline is not None:
            left = self._deadline - monotonic()
            if left <= 0:
                raise TimeoutError("the TLS handshake took too long")
            self.timeout = math.ceil(left / _TIMEOUT_STEP) * _TIMEOUT_STEP  # type: ignore[misc]

    def _begin(self) -> None:
        # From here on it is OpenSSL that reads, which asks for no MSG_DONTWAIT.
        c_socket.setblocking(self, False)
        with context_lock:
            self.ssl_object = self._terms.context()._wrap_socket(self, True, owner=self)

    def _shake_hands(self) -> None:
        lock = take_lock(self)
        try:
            if self.ssl_object is None:
                self._begin()
            self.ssl_object.do_handshake()
        finally:
            lock.release()

    def do_handshake(self, block: bool = False) -> None:
        """Complete the handshake, within `handshake_timeout` seconds of accept.

        Raises:
            OSError: as `handshake_now`.
        """
        while not (self.handshake_done or self.handshake_now()):
            if self._later_timeout == 0.0 and not block:
                raise SSLWantReadError("the handshake waits for the client")
            self.wait_readable()

    def _session(self) -> Any:
        """The OpenSSL connection, once the handshake is over; None after `unwrap` or `close`."""
        if not self.handshake_done:
            self.do_handshake()
        return self.ssl_object

    def _sslsock(self) -> TlsSession:
        # A context of gevent's asks this of what it hands to its callbacks.
        return self

    # Timeouts: OpenSSL needs a descriptor that never blocks.

    def settimeout(self, value: float | None, /) -> None:
        value = checked_timeout(value)
        self._later_timeout = value
        if self.handshake_done:
            self.timeout = value  # type: ignore[misc]

    def gettimeout(self) -> float | None:
        return self._later_timeout

    def getblocking(self) -> bool:
        return self._later_timeout != 0.0

    def wait_readable(self) -> None:
        self._wait_within_limits(READ)

    def wait_writable(self) -> None:
        self._wait_within_limits(WRITE)

    def _wait_within_limits(self, events: int) -> None:
        if self.timeout is not None or not limits:
            self._wait(events, self.timeout)
            return
        try:
            self._wait(events, option_limits.of_waiting(self, events))
        except TimeoutError:
            # What OpenSSL says where the kernel ends a call.
            raise (SSLWantReadError if events == READ else SSLWantWriteError)(
                "The operation did not complete"
            ) from None

    # What there is to know of the session. As with `recv`, the first question makes the handshake.

    @property
    def context(self) -> Any:
        return self._terms.context() if self.ssl_object is None else self.ssl_object.context

    @context.setter
    def context(self, context: Any) -> None:
        # For SNI callbacks, which choose the certificate by it.
        if self.ssl_object is None:
            self._begin()
        self.ssl_object.context = context

    @property
    def suppress_ragged_eofs(self) -> bool:
        return self._terms.suppress_ragged_eofs

    @property
    def session(self) -> Any:
        return None if self._session() is None else self.ssl_object.session

    @property
    def session_reused(self) -> Any:
        return None if self._session() is None else self.ssl_object.session_reused

    def pending(self) -> int:
        """How many bytes can be read without waiting for the client."""
        here = len(self.unread) - self.unread_at
        return here if self._session() is None else here + int(self.ssl_object.pending())

    def getpeercert(self, binary_form: bool = False) -> Any:
        tls = self._session()
        if tls is None:
            raise ValueError("there is no TLS session")
        return tls.getpeercert(binary_form)

    def get_channel_binding(self, cb_type: str = "tls-unique") -> Any:
        tls = self._session()
        return None if tls is None else tls.get_channel_binding(cb_type)

    def verify_client_post_handshake(self) -> Any:
        tls = self._session()
        if tls is None:
            raise ValueError("there is no TLS session")
        return tls.verify_client_post_handshake()

    def version(self) -> Any:
        return self._of_session("version")

    def cipher(self) -> Any:
        return self._of_session("cipher")

    def shared_ciphers(self) -> Any:
        return self._of_session("shared_ciphers")

    def compression(self) -> Any:
        return self._of_session("compression")

    def selected_alpn_protocol(self) -> Any:
        return self._of_session("selected_alpn_protocol")

    def selected_npn_protocol(self) -> None:
        return None

    def _of_session(self, name: str) -> Any:
        tls = self._session()
        return None if tls is None else getattr(tls, name)()
