"""What becomes of an exception of a handler."""

from __future__ import annotations

import errno
import logging
import sys
import traceback
from typing import Any

from greensock.files.line_limits import LineTooLong
from greensock.handlers import error_origins
from greensock.printable import printable
from greensock.stats import Counters

_log = logging.getLogger("greensock.serve")


def report(server: Any, request: Any, client_address: Any) -> None:
    """Count the exception being handled, and write its traceback to standard error.

    A client who has merely gone away, or was silent for longer than a timeout allows, is one DEBUG
    record: a crowd that leaves would otherwise be a screen of tracebacks. So is one whose TLS
    session broke. Both only where it is this client's connection that failed, and none of the
    handler's own. One who sent a line without end is one WARNING.
    """
    counters: Counters = server._greensock.counters
    error = sys.exception()
    is_of_client = isinstance(error, ConnectionError | TimeoutError) and error_origins.is_of_client(
        error, request
    )
    is_lost = is_of_client and isinstance(error, ConnectionError)
    if is_lost or getattr(request, "broken_by", None) == id(error):
        counters.add("disconnects")
        _log.debug("%r went away: %r", client_address, error)
        return
    if is_of_client and isinstance(error, TimeoutError):
        kind = _kind_of_timeout(server, request, error)
        if kind is not None:
            counters.add_timeout(kind)
            _log.debug("%r: timed out (%s)", client_address, kind)
            return
    counters.add("errors")
    if isinstance(error, LineTooLong):
        _log.warning("%r: %s; it was closed", client_address, error)
        return
    rule = "-" * 40
    # What a handler raises often quotes what its client has said.
    told = printable(traceback.format_exc(), keep="\n\t")
    print(
        f"{rule}\nException occurred during processing of request from {client_address!r}\n"
        f"{told}{rule}",
        file=sys.stderr,
    )


def _kind_of_timeout(server: Any, request: Any, error: TimeoutError) -> str | None:
    """Which timeout it was; None if it was none of the client's."""
    if error.errno == errno.ETIMEDOUT:
        # From the kernel: TCP_USER_TIMEOUT, or keep-alive probes that nobody answered.
        return "keepalive" if server._greensock.limits.write_timeout is None else "write"
    timeout = getattr(request, "gettimeout", lambda: None)()
    if timeout is None:
        return None
    return "idle" if timeout == server._greensock.limits.idle_timeout else "handler"
