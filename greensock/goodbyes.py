"""The last that passes between a server that is drained and a client who is silent."""

from __future__ import annotations

import functools
from typing import Any

from greensock import endings
from greensock.hub import client_contexts
from greensock.hub.lot import Client

#: Seconds for which a client out of the kernel's queue may take to say what it came for. It may
#: have connected a microsecond ago.
QUEUE_GRACE = 1.0

# Seconds that `on_drain` may take to write to a client who does not read.
_GOODBYE = 0.2


def say_goodbye(server: Any, client: Client) -> None:
    """Call an overridden `on_drain` for a client that is about to be closed."""
    if client.handler is None or not server._gs_says_goodbye():
        return
    handler = server._gs_handler_of(client)
    if handler is None:
        return
    try:
        client.request.settimeout(_GOODBYE)
        client_contexts.run_apart(
            server._gs_contexts, client, functools.partial(server.on_drain, handler)
        )
    except BaseException as error:  # noqa: BLE001 - raised again if it is the owner's
        endings.tell_beside(server, client.request, client.address, error)
