"""A client of the lot's, and what may become of it."""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from greensock.lot.lot import Lot


class State(Enum):
    """What is going on for a client."""

    #: A turn of its is wanted, queued or running.
    BUSY = auto()
    #: The lot waits for it, and nothing else does.
    PARKED = auto()
    #: Nothing is read of it any more: it is about to be ended.
    ENDING = auto()
    #: Its handler runs, or will run, as a whole: it is none of the lot's.
    DEDICATED = auto()
    #: The lot has forgotten it.
    GONE = auto()


BUSY, PARKED, ENDING = State.BUSY, State.PARKED, State.ENDING
DEDICATED, GONE = State.DEDICATED, State.GONE

#: Every step that a client may take; methods of `Client` and of `Lot` alone take them.
STEPS: dict[State, frozenset[State]] = {
    # `Lot.park`; `Client.end_soon`; `Client.dedicate`; `Lot.forget`.
    BUSY: frozenset((PARKED, ENDING, DEDICATED, GONE)),
    # Bytes that have come, or `Lot.unpark`; timeout, eviction, closed by somebody; `Lot.forget`.
    PARKED: frozenset((BUSY, ENDING, GONE)),
    # `Lot.forget`; its end is to run in a child of its own: `Client.dedicate`.
    ENDING: frozenset((GONE, DEDICATED)),
    # `Client.end_soon`, in that case.
    DEDICATED: frozenset((ENDING,)),
    GONE: frozenset(),
}


class Client:
    """One open request and all that the server keeps for it.

    An idle client is this object, its request and its handler: every attribute here is paid for by
    each of thousands of idle clients.
    """

    __slots__ = ("address", "handler", "lot", "request", "state", "watch")

    def __init__(self, request: Any, address: Any) -> None:
        self.request = request
        self.address = address
        #: The request-wise handler between its turns; None before the first turn, and always None
        #: for a handler with a handle() of its own.
        self.handler: Any = None
        self.state = BUSY
        #: The lot that holds it; None before and after, and while its turn outlives the run of
        #: serve_forever that has begun it.
        self.lot: Lot | None = None
        #: Whether the lot's set has its descriptor; see `Lot`.
        self.watch = 0

    def end_soon(self) -> None:
        """Nothing more is to be read of it: whoever has it next ends it."""
        self.state = ENDING

    def dedicate(self) -> None:
        """Its handler runs as a whole, beside the lot."""
        self.state = DEDICATED
