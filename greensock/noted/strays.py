"""Requests whose handling a program took upon itself: who is told once they are closed.

A program may hand a request to threads or a pool of its own, and nobody says when it is done with
it. Its end shows where it is closed, by whoever does so, or forgotten.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import ref

#: Each with who is told, by its identity; the reference says when it is gone, before that is
#: another's. To be looked at by whoever closes requests.
watched: dict[int, tuple[Any, Callable[[Any], None]]] = {}


def watch(request: Any, on_closed: Callable[[Any], None]) -> None:
    """Have `on_closed` called once `request` is closed: with it, or None if it was forgotten.

    In whatever thread that is.
    """
    key = id(request)
    try:
        forgotten = ref(request, lambda _: _end(key, None))
    except TypeError:
        # It keeps no such references: then closing it is all that can be seen.
        forgotten = None
    watched[key] = (forgotten, on_closed)


def forget(request: Any) -> bool:
    """Have nobody told; say whether somebody would have been."""
    return watched.pop(id(request), None) is not None


def closed(request: Any) -> None:
    """`request` is closed, or about to be."""
    _end(id(request), request)


def _end(key: int, request: Any) -> None:
    found = watched.pop(key, None)
    if found is not None:
        found[1](request)
