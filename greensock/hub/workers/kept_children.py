"""Children that keep their client between its turns, as the parent sees them.

A TLS session cannot leave the child that it began in, so its client is not parked in the lot but
waited for in the child (see `greensock.turns.kept`). What the parent does to parked clients it
asks such a child to do: to send its client away once that is silent, for a drain, because the
server is closed, or to make room.
"""

from __future__ import annotations

from collections.abc import Collection

from greensock.hub.workers.demand import Demand, Vacancies
from greensock.hub.workers.marks import Mark


class KeptChild:
    """How a parent and a child that keeps its client speak to each other.

    `demand`: readable once the client is to be sent away.
    """

    __slots__ = ("demand", "mark", "vacancies")

    def __init__(self, mark: Mark, vacancies: Vacancies) -> None:
        self.mark = mark
        self.demand = Demand()
        self.vacancies = vacancies

    def close(self) -> None:
        self.demand.close()

    # In the parent.

    def dismiss(self, drained_at: float = 0.0) -> None:
        """Have the client sent away as soon as it is silent."""
        if drained_at:
            self.mark.drained_at = drained_at
        self.demand.set_waiting(True)

    # In the child.

    def begin_silence(self, when: float) -> bool:
        """The client is silent from now on; False if it is to make room for another at once."""
        # In this order, see `make_room`.
        self.mark.silent_since = when
        if not self.vacancies.take():
            return True
        self.mark.is_evicted = True
        return False

    def end_silence(self) -> None:
        self.mark.silent_since = 0.0


def make_room(kept: Collection[KeptChild], vacancies: Vacancies, wanted: int) -> None:
    """Evict `wanted` clients, less those who are about to go: who has been silent longest first.

    If too few are silent now, those who next are. So vacancies are offered first, and then taken
    back for each who was silent already: a child that falls silent meanwhile takes one or is seen.
    """
    withdraw(vacancies)
    staying = [child for child in kept if not child.mark.is_evicted]
    wanted = min(wanted - (len(kept) - len(staying)), len(staying))
    if wanted <= 0:
        return
    vacancies.offer(wanted)
    silent = [(since, child) for child in staying if (since := child.mark.silent_since)]
    for _, child in sorted(silent, key=lambda each: each[0])[:wanted]:
        if not vacancies.take():
            break
        child.mark.is_evicted = True
        child.dismiss()


def withdraw(vacancies: Vacancies) -> None:
    """Nobody needs to make room any more."""
    while vacancies.take():
        pass
