"""Serving TLS only where it is wanted, and certificates that are renewed at any moment.

What serves TLS is not loaded before the first server that needs it: with it comes `ssl`, which must
not be there before a program patches itself, and costs others 10 ms. A signal handler may renew a
certificate amid that, and amid another renewal in the same thread.
"""

from __future__ import annotations

import _thread
import itertools
import logging
import os
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gevent import monkey

from greensock.hub.fork_gate import fork_gate

if TYPE_CHECKING:
    from greensock.serving.service import Service
    from greensock.serving.transport import Transport

_log = logging.getLogger("greensock.tls")

# Native threads that load it just now. What a signal handler finds in them is half a module, whose
# import it cannot wait for, and must not begin again: import locks are not made for that.
_loading: set[int] = set()

# Renewals that came amid that.
_postponed: deque[Callable[[], None]] = deque()

# In a child, of whose parent's threads one may have been at that.
os.register_at_fork(after_in_child=_loading.clear)
os.register_at_fork(after_in_child=_postponed.clear)


class Renewals:
    """The certificates that one server is given, of which the one that was asked for last holds."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._lock = _thread.RLock()
        #: What is to be put in force, with the number of the call that asked for it.
        self._wishes: list[tuple[int, Callable[[], Any]]] = []
        self._is_installing = False
        self._installed = 0

    def new_transport(self, service: Service, before: Transport) -> Transport:
        """What the clients of a server with TLS speak by from now on.

        Raises:
            TypeError, ValueError: see `TlsTransport`.
        """
        transport: Transport = _load().TlsTransport(service, before)
        _catch_up()
        return transport

    def begin(self) -> int:
        """Number a call, before it reads anything."""
        return next(self._numbers)

    def install(self, number: int, put_in_force: Callable[[], Any]) -> None:
        """Put a certificate in force, unless a later call's is.

        Where this interrupts another call in the same thread, that one does it before it returns.

        Raises:
            ValueError: it cannot be put in force.
            OSError: likewise.
        """
        failure: Exception | None = None
        with self._lock:
            self._wishes.append((number, put_in_force))
            # Again, for whoever came just before this was no longer installing.
            while self._wishes and not self._is_installing:
                self._is_installing = True
                try:
                    self._install_wishes()
                except (OSError, ValueError) as error:
                    failure = error
                finally:
                    self._is_installing = False
        if failure is not None:
            raise failure

    def _install_wishes(self) -> None:
        while self._wishes:
            number, put_in_force = self._wishes.pop()
            if number > self._installed:
                put_in_force()
                self._installed = number
                _log.info("new certificate in force")


def renew(service: Service, certfile: Any, keyfile: Any, password: Any) -> None:
    """What TCPServer.reload_tls does."""
    number = service.renewals.begin()
    tls_serving = _load()
    if tls_serving is None:
        _postponed.append(lambda: _renew_late(service, number, certfile, keyfile, password))
        return
    tls_serving.renew(service, number, certfile, keyfile, password)
    _catch_up()


def _load() -> Any:
    """The module that serves TLS; None if that is being loaded below the caller."""
    thread = monkey.get_original("_thread", "get_ident")()
    if thread in _loading:
        return None
    _loading.add(thread)
    try:
        with fork_gate:
            from greensock.tls import transport as tls_serving
    finally:
        _loading.discard(thread)
    return tls_serving


def _catch_up() -> None:
    while _postponed:
        try:
            late = _postponed.popleft()
        except IndexError:
            # Another thread has.
            return
        late()


def _renew_late(service: Service, number: int, *source: Any) -> None:
    try:
        _load().renew(service, number, *source)
    except (OSError, ValueError) as error:
        # Whoever asked for it has gone on.
        _log.warning("%s; the old certificate stays", error)
