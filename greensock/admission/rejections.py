"""Turning clients away without keeping whoever accepts.

`reject_request()` may write to the client, and so wait for it: over TLS for its side of the
handshake, which may never come. It is called in a greenlet of its own, with a request that blocks
no more than that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gevent

from greensock.hub.workers.greenlet_pool import GreenletPool
from greensock.net import listening

if TYPE_CHECKING:
    from greensock.serving.service import Service

# Clients for whom `reject_request()` may wait at the same time, each with a descriptor. Arbitrary;
# half of the reserve that `admission` keeps. Any more are closed without a word.
_AT_ONCE = 32

# Seconds that a client may leave the kernel's buffers full, and that all of it may take, the
# handshake included.
_PATIENCE = 1.0
_LONGEST = 10.0


class Rejections:
    """Turns clients away during one run of `serve_forever`; for the serving greenlet only."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._pool: GreenletPool | None = None

    def turn_away(self, request: Any, client_address: Any, at_once: bool) -> None:
        """Close a client, after a word of the program's if it has one.

        With `at_once` the request is closed when this returns, and nothing was waited for.
        """
        service = self._service
        service.counters.rejected += 1
        pool = self._pool
        is_full = pool is not None and pool.busy >= _AT_ONCE
        if is_full or not service.has_hook("reject_request"):
            self._close(request, client_address)
        elif at_once:
            if not service.transport.has_sessions:
                request.settimeout(0.0)
                self._call_hook(request, client_address)
            self._close(request, client_address)
        else:
            if pool is None:
                pool = self._pool = GreenletPool(self._run, lambda: None)
            pool.submit((self._cooperative(request), client_address))

    def _cooperative(self, request: Any) -> Any:
        request = self._service.transport.cooperative(request)
        if hasattr(request, "settimeout"):
            request.settimeout(_PATIENCE)
        return request

    def _run(self, job: tuple[Any, Any]) -> bool:
        try:
            with gevent.Timeout(_LONGEST, False):
                if self._service.transport.greet(*job):
                    self._call_hook(*job)
        finally:
            self._close(*job)
        return False

    def _call_hook(self, request: Any, client_address: Any) -> None:
        try:
            self._service.server.reject_request(request, client_address)
        except gevent.Timeout:
            raise
        except BaseException as error:  # noqa: BLE001 - raised again if it is the owner's
            self._service.endings.tell_beside(request, client_address, error)

    def _close(self, request: Any, client_address: Any) -> None:
        listening.discard_unread(request)
        self._service.endings.close_beside(request, client_address)

    def close(self) -> None:
        """End with the run: whoever is waited for is closed."""
        pool, self._pool = self._pool, None
        if pool is not None:
            for request, client_address in pool.jobs:
                self._close(request, client_address)
            pool.dismiss(_PATIENCE)
