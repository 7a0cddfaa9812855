"""The servers of this process: what a child of one of them has to leave to its parent."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import Any

# By their id: a program's server may compare equal to another, and have no hash.
_servers: dict[int, weakref.ref[Any]] = {}


def note(server: Any) -> None:
    """Note a server that has been made; it is forgotten when it is gone."""
    key = id(server)

    def forget(gone: weakref.ref[Any]) -> None:
        if _servers.get(key) is gone:
            del _servers[key]

    _servers[key] = weakref.ref(server, forget)


def all_servers() -> Iterator[Any]:
    """The servers of the process."""
    for reference in tuple(_servers.values()):
        server = reference()
        if server is not None:
            yield server


def others(mine: Any) -> Iterator[Any]:
    """The servers of the process but `mine`."""
    return (server for server in all_servers() if server is not mine)
