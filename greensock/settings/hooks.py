"""What a program may set about its server's clients, and the hooks it is told by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from greensock.settings.unmixed import Unmixed


class ClientHooks(Unmixed):
    """The part of BaseServer that programs set and override to bound their clients.

    See `TCPServer` for what the class variables mean.
    """

    max_connections: int | None = None
    overflow = "pause"
    max_connections_per_ip: int | None = None
    ip_prefix = (32, 64)
    trusted_ips: Sequence[str] = ()
    idle_timeout: float | None = None
    write_timeout: float | None = None
    graceful_timeout: float | None = None
    stall_timeout: float | None = None
    count_bytes = False
    #: Whether the server is being drained, for handlers to see.
    draining = False

    def reject_request(self, request: Any, client_address: Any) -> None:
        """Called with a client for whom a limit leaves no room, before it is closed.

        Does nothing here. An override may write a busy line, over TLS after the handshake. It runs
        in a greenlet of its own, with a cooperative request: while it waits for the client, up to
        10 s in all, others are accepted. While 32 such clients are waited for, further ones are
        closed without it; so is, over TLS, one for whom there is only the spare descriptor.
        """

    def on_drain(self, handler: Any) -> None:
        """Called with the handler of each parked client that a drain is about to close.

        Does nothing here. An override may say goodbye to the client, and has 0.2 s for it. It runs
        in a greenlet of its own, while handlers run; without a mixin, while one waits. A client for
        whose next request a thread or child still waits is parked in this sense. Under ForkingMixIn
        it is called in a child where there is one, or where making the handler anew or its end is
        code of the program's; else in the parent, which makes the handler for it.
        """

    def on_connection(self, state: str, request: Any, client_address: Any) -> None:
        """Called when something becomes of a client of a stream; may be overridden.

        Does nothing here, and is called only if it is overridden when `serve_forever` begins.

        Args:
            state: "new": accepted, and about to be let in. "busy": its handler is about to run, or
                to be asked on. "parked": it is about to wait in the lot. "closed": it is closed,
                or about to be. A usual client is new, parked, busy, parked, busy, closed; one that
                has spoken before it is accepted may be busy at once.
            request: the client's socket.
            client_address: its address.

        It runs in the serving thread, for GreenletMixIn in the client's greenlet, and keeps the
        client waiting meanwhile. What it raises goes to `handle_error`; `sys.exit()` in it ends
        nothing but the call.
        """
