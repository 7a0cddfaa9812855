"""What a program may set about its server's clients, and the hooks it is told by."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any

from greensock.limits import is_foreign
from greensock.unmixed import Unmixed


class ClientHooks(Unmixed):
    """The part of BaseServer that programs set and override to bound their clients.

    What is private of a server begins with `_gs_`, in all of its classes: programs give their
    servers attributes of their own, and call them `_pool`, `_lock` or `_clients`.

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

    def _gs_settings_changed(self) -> None:
        """Told that one of `limits.CHECKS` was set."""

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

    def _gs_observes(self) -> bool:
        return self._gs_has_hook("on_connection") and self._gs_is_stream()

    def _gs_says_goodbye(self) -> bool:
        return self._gs_has_hook("on_drain")

    def _gs_has_hook(self, name: str) -> bool:
        """Whether a hook that only greensock has is overridden, by a class or on this server."""
        if is_foreign(type(self)):
            return False
        hook = getattr(self, name)
        return callable(hook) and getattr(hook, "__func__", None) is not getattr(ClientHooks, name)

    def _gs_own_context(self) -> Any:
        """The context with which the server is to serve TLS; None: it is not.

        A program that knows nothing of greensock does itself what it has its context for.
        """
        return None if is_foreign(type(self)) else getattr(self, "ssl_context", None)

    def _gs_is_stream(self) -> bool:
        """Whether clients connect to it, and are accepted."""
        connected = (socket.SOCK_STREAM, socket.SOCK_SEQPACKET)
        return getattr(self, "socket_type", None) in connected
