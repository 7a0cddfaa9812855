"""What becomes of an exception of a handler."""

from __future__ import annotations

import logging
import sys
import traceback
from typing import Any

from greensock.stats import Counters

_log = logging.getLogger("greensock.serve")


def report(counters: Counters, request: Any, client_address: Any) -> None:
    """Count the exception being handled, and write its traceback to standard error.

    A client who has merely gone away, or was silent for longer than the timeout set on the request,
    is one DEBUG record: a crowd that leaves would otherwise be a screen of tracebacks.
    """
    error = sys.exception()
    if isinstance(error, ConnectionError):
        counters.disconnects += 1
        _log.debug("%s went away: %r", client_address, error)
        return
    if isinstance(error, TimeoutError) and getattr(request, "timeout", None) is not None:
        counters.timeouts += 1
        _log.debug("%s was silent for too long", client_address)
        return
    counters.errors += 1
    rule = "-" * 40
    print(
        f"{rule}\nException occurred during processing of request from {client_address}\n"
        f"{traceback.format_exc()}{rule}",
        file=sys.stderr,
    )
