"""A turn that runs elsewhere, and how turns end."""

from __future__ import annotations

from enum import Enum, auto
from typing import Any, Protocol

from greensock.lot.client import Client


class Outcome(Enum):
    """How a turn ended."""

    #: Nothing more to read: the lot may have the client.
    PARK = auto()
    #: The client had more to say than one turn may hear; others come first.
    GO_ON = auto()
    #: The client is done with, and its request closed.
    END = auto()


PARK, GO_ON, END = Outcome.PARK, Outcome.GO_ON, Outcome.END


class Turn:
    """A turn that runs elsewhere, behind a hook that programs override, and how it ended."""

    __slots__ = ("client", "outcome", "runs_in", "silent_since")

    def __init__(self, client: Client) -> None:
        self.client = client
        #: The thread or greenlet.
        self.runs_in: Any = None
        #: END unless the hook was left to run the turn: then the program has done all itself.
        self.outcome = END
        #: As in `Lingering`.
        self.silent_since = 0.0


class Lingering(Protocol):
    """Where a turn that lingers says so."""

    #: When it began to wait for its client's next request, by the monotonic clock; 0.0: it does not
    #: wait. Who was silent when a drain began is closed as if parked.
    silent_since: float


# Requests of one client in a row before the other clients get their turn. Arbitrary: at 10 us
# a request, a client who floods keeps the others waiting for 0.3 ms at a time.
_MAX_REQUESTS = 32
REQUESTS = range(_MAX_REQUESTS)
