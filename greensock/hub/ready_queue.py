"""Where clients wait for their turn."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple


class ReadyQueue(NamedTuple):
    """Where a lot puts the clients who are to have a turn.

    `clients`: the queue. `schedule`: called when one is put into it while it is empty. `dispatch`:
    the same, but called in the hub, and once no more are about to come. Neither may block or raise.
    """

    clients: deque[Any]
    schedule: Callable[[], None]
    dispatch: Callable[[], None]


def queue_of_nobody() -> ReadyQueue:
    """One whose clients are served by nobody."""
    return ReadyQueue(deque(), _stay, _stay)


def _stay() -> None:
    """Nobody is told."""
