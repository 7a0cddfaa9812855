"""A lot that knows how long its clients have been parked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from greensock.lot.client import PARKED, Client
from greensock.lot.lot import LimitedLot, Lot

# Seconds for which a client without any timeout may be silent: 30 years. It is listed by the time
# of its parking all the same, so that the longest silent can be found.
_NO_LIMIT = 1e9

# A client whose server has written to it meanwhile is looked at again that part of its timeout
# later, at the latest: deadlines rounded to it share a list and a timer.
_ROUNDING = 0.1


class TimedLot(LimitedLot):
    """A lot for `idle_timeout`, for eviction and for whoever wants to be told of each parking.

    A place in the list of the silent costs each parked client about 100 bytes, and each parking
    0.3 us: so it is not the lot of those who want none of it. A `Lot` may be made one while it
    holds clients, by setting its class and calling `begin`.
    """

    #: Seconds after which a parked client is ended, or None.
    idle_timeout: float | None = None
    #: Says for how many seconds no byte has gone either way, or None where nobody knows.
    seconds_without_data: Callable[[Any], float | None]
    #: Called with each client who is parked, before it is.
    on_park: Callable[[Client], None] | None = None

    def begin(
        self, idle_timeout: float | None, seconds_without_data: Callable[[Any], float | None]
    ) -> None:
        """Take a new idle timeout, for those who are parked already too."""
        self.idle_timeout = idle_timeout
        self.seconds_without_data = seconds_without_data
        for client in self.clients.values():
            if client.state is PARKED:
                self.end_silence(client)
                self._bound_silence(client)

    def detach(self) -> None:
        self.on_park = None
        LimitedLot.detach(self)

    def park(self, client: Client) -> None:
        if self.on_park is not None:
            self.on_park(client)
        LimitedLot.park(self, client)

    def _limit_of(self, client: Client) -> float:
        found = (LimitedLot._limit_of(self, client), self.idle_timeout)
        return min((each for each in found if each is not None), default=_NO_LIMIT)

    def longest_parked(self) -> Client | None:
        """The client who has been parked longest, if one is."""
        found: Client | None = None
        since = 0.0
        for timeout, silence in self.silences.items():
            first = silence.first()
            if first is not None and (found is None or first[1] - timeout < since):
                found, since = first[0], first[1] - timeout
        return found

    def _on_expired(self, client: Client) -> None:
        idle_timeout = self.idle_timeout
        if idle_timeout is not None and self._limit_of(client) == idle_timeout:
            silent_for = self.seconds_without_data(client.request)
            if silent_for is not None and silent_for < idle_timeout * (1 - _ROUNDING):
                # Another greenlet has written to it: that is no silence. The kernel keeps the
                # time, so that writing costs nothing.
                steps = round((idle_timeout - silent_for) / (idle_timeout * _ROUNDING))
                self._silence(max(steps, 1) * idle_timeout * _ROUNDING).add(client)
                return
        Lot._on_expired(self, client)
