"""The last that passes between a server that is drained and a client who is silent."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from greensock.lot import contexts
from greensock.lot.client import Client

if TYPE_CHECKING:
    from greensock.serving.service import Service

#: Seconds for which a client out of the kernel's queue may take to say what it came for. It may
#: have connected a microsecond ago.
QUEUE_GRACE = 1.0

# Seconds that `on_drain` may take to write to a client who does not read.
_GOODBYE = 0.2


def say_goodbye(service: Service, client: Client) -> None:
    """Call an overridden `on_drain` for a client that is about to be closed."""
    if client.handler is None or not service.has_hook("on_drain"):
        return
    handler = service.runner.handler_of(client)
    if handler is None:
        return
    try:
        client.request.settimeout(_GOODBYE)
        contexts.run_apart(
            service.contexts, client, functools.partial(service.server.on_drain, handler)
        )
    except BaseException as error:  # noqa: BLE001 - raised again if it is the owner's
        service.endings.tell_beside(client.request, client.address, error)
