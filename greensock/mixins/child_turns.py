"""Turns in children, as the parent keeps them."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable

from greensock.hub.workers.children import ChildWatch
from greensock.hub.workers.kept_children import KeptChild
from greensock.hub.workers.marks import Mark
from greensock.lot.client import Client

#: The bit of a child's mark that says that its client is to be parked.
PARKS = 1


class ChildTurn:
    """A turn that runs in a child."""

    __slots__ = ("client", "is_first", "keeps", "mark", "returns", "watch")

    def __init__(self, client: Client, is_first: bool, returns: bool, mark: Mark) -> None:
        self.client = client
        self.is_first = is_first
        #: Whether the parent keeps the request open too, to park it afterwards.
        self.returns = returns
        #: Of a child in which all turns of its client run.
        self.keeps: KeptChild | None = None
        #: What the child tells its parent.
        self.mark = mark
        self.watch: ChildWatch | None = None

    def close(self) -> None:
        """In the parent, once the child is gone."""
        self.unwatch()
        if self.keeps is not None:
            self.keeps.close()

    def unwatch(self) -> None:
        if self.watch is not None:
            self.watch.close()
            self.watch = None


def killer(pid: int) -> Callable[[], None]:
    """What ends the child `pid`, from anywhere."""

    def kill() -> None:
        # Not SIGTERM: the child has the handlers of its parent, which stop a server.
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    return kill
