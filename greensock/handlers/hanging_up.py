"""Ending a client from elsewhere than its own turn."""

from __future__ import annotations

import contextlib
import functools
import socket
import sys
from _socket import socket as c_socket
from typing import Any

from greensock.handlers import whereabouts
from greensock.lot.client import ENDING, PARKED, Client


def hang_up(handler: Any) -> None:
    """End the client of a handler, parked or busy; see `StreamRequestHandler.hang_up`.

    Raises:
        RuntimeError: this is a child, and the client is another's.
    """
    server = handler.server
    service = getattr(server, "_greensock", None)
    if service is not None and service.is_parents:
        if whereabouts.find(sys._getframe()).handler is not handler:
            # Its descriptor's number may be that of something else here.
            raise RuntimeError("a child can hang up on its own client only")
        handler.close_connection = True
        _cut(handler.request)
        return
    run: Any = None if service is None else service.run
    client: Client | None = None if run is None else run.lot.clients.get(handler.request)
    if client is None:
        _cut(handler.request)
    elif client.state is not PARKED:
        _end_busy(client)
    elif not run.do_soon(functools.partial(_end, run.lot, client)):
        # Served no more; whoever serves next finds its end, and server_close() closes it.
        _cut(client.request)


def _end(lot: Any, client: Client) -> None:
    """In the serving greenlet, which alone may take a client out of its lot."""
    if not lot.holds(client):
        return
    if client.state is PARKED:
        lot.end_soon(client)
    else:
        _end_busy(client)


def _end_busy(client: Client) -> None:
    if client.state is ENDING:
        return
    if hasattr(client.handler, "close_connection"):
        client.handler.close_connection = True
    _cut(client.request)


def _cut(request: Any) -> None:
    """Have whoever reads or writes find that the connection is over; what was written goes out."""
    # Past Python's classes: that of a TLS socket would say close_notify, amid another's record.
    shutdown = c_socket.shutdown if isinstance(request, c_socket) else type(request).shutdown
    with contextlib.suppress(OSError):
        shutdown(request, socket.SHUT_RDWR)
