"""Who talks to which kind of server, and how many of them."""

from __future__ import annotations

from collections.abc import Callable

from loadtests.soaking.clients import (
    Client,
    bulk,
    churn,
    datagrams,
    echo,
    listen,
    page,
    slow,
)
from loadtests.soaking.tls_clients import late, private_echo, resume

CAST: dict[str, tuple[tuple[Callable[[Client], None], int], ...]] = {
    "echo": ((echo, 6), (churn, 2), (slow, 2), (bulk, 1)),
    "classic": ((echo, 3), (churn, 1)),
    "http": ((page, 4),),
    "push": ((listen, 4),),
    "tls": ((private_echo, 4), (resume, 2), (late, 1)),
    "udp": ((datagrams, 2),),
}


def kinds_under(mixin: str, kinds: tuple[str, ...]) -> tuple[str, ...]:
    """Those of `kinds` that there are under a mixin: nobody pushes to the clients of children."""
    return tuple(kind for kind in kinds if (mixin, kind) != ("forking", "push"))
