"""Who is let in, and what becomes of a newcomer for whom there is no room.

The bounds are looked at where a client is accepted, and nowhere else: clients who are in pay for
none of it, and an exchange costs the same with and without limits.
"""

from __future__ import annotations

import sys
from time import monotonic
from typing import TYPE_CHECKING, Any

from greensock.admission.rejections import Rejections
from greensock.net import open_files
from greensock.net.shortages import SpareDescriptor

if TYPE_CHECKING:
    from greensock.admission.networks import NetworkCounts
    from greensock.serving.run import Run

# Descriptors left to the program: its files, its database, a child's pidfd, a log. Arbitrary, and
# never more than a quarter of a small limit.
_RESERVE = 64

# Seconds between two counts of the open files while there is no room. Arbitrary: see below.
_COUNTING_INTERVAL = 1.0

# Clients turned away per wake-up while there is no room. Arbitrary: about a millisecond's worth.
_TURNED_AWAY_AT_ONCE = 32


def files_for_clients(held_now: int) -> int:
    """How many clients the limit of open files leaves room for, with a reserve.

    Args:
        held_now: how many of the descriptors that are open now are clients'.
    """
    limit = open_files.limit()
    if limit is None:
        return sys.maxsize
    others = open_files.count() - held_now
    return max(1, limit - others - min(_RESERVE, limit // 4))


class Admission:
    """Lets clients in, or not, during one run of `serve_forever`; for the serving greenlet only.

    Args:
        run: that run.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._service = run.service
        #: What the limit of open files was when clients were last counted out by it, and when.
        self._files: int | None = None
        self._counted = 0.0
        self._spare: SpareDescriptor | None = None
        self._overflow = "pause"
        self._rejections = Rejections(self._service)
        self.networks: NetworkCounts | None = None
        #: How many clients there may be.
        self.limit = sys.maxsize
        self.read_settings()

    def read_settings(self) -> None:
        """Take over the server's settings, which may have changed while it serves."""
        service = self._service
        if not service.is_of_streams():
            return
        limits = service.limits
        self._overflow = limits.overflow
        self.limit = limits.max_connections or self._limit_by_files()
        if self._overflow == "reject" and self._spare is None:
            self._spare = SpareDescriptor()
        self._count_networks()
        service.checks_newcomers = (
            self.networks is not None or limits.idle_timeout is not None or self._run.observes
        )

    def _limit_by_files(self) -> int:
        self._files, self._counted = open_files.limit(), monotonic()
        return files_for_clients(self._open())

    def _may_have_more_files(self) -> bool:
        """Whether to count again: the limit is another now, or the program may have closed files.

        To count 20,000 takes 5 ms, so not for each client who comes where another has gone.
        """
        if self._service.limits.max_connections is not None:
            return False
        return self._files != open_files.limit() or monotonic() - self._counted > _COUNTING_INTERVAL

    def _open(self) -> int:
        service = self._service
        # As `OpenClients.count`, without its call, at every wake-up for newcomers.
        return len(service.lot.clients) + service.counters.dedicated

    def _count_networks(self) -> None:
        service = self._service
        limits, before = service.limits, service.clients.networks
        most = limits.max_connections_per_ip
        if most is None:
            self.networks = service.clients.networks = None
            return
        # Not before: with it comes `ipaddress`, 0.3 MiB that each child would copy for nothing.
        from greensock.admission.networks import NetworkCounts

        networks = NetworkCounts(most, limits.ip_prefix, limits.trusted_ips)
        self.networks = service.clients.networks = networks
        if before is not None:
            before.move_to(networks)
        else:
            for client in service.lot.clients.values():
                networks.take_over(client.request, client.address)

    def room(self) -> int:
        """How many more clients may be let in; may be negative once a limit was lowered."""
        room = self.limit - self._open()
        if room <= 0 and self._may_have_more_files():
            self.limit = self._limit_by_files()
            room = self.limit - self._open()
        return room

    def lets_in(self, request: Any, client_address: Any) -> bool:
        """Whether one newcomer may stay, who is counted then."""
        return self.networks is None or self.networks.lets_in(request, client_address)

    def turn_away(self, request: Any, client_address: Any, at_once: bool = False) -> None:
        """Close a newcomer whom a limit leaves no room; see `Rejections`."""
        self._rejections.turn_away(request, client_address, at_once)

    def turn_away_or_wait(self) -> bool:
        """There is no room: do what `overflow` says; return whether to look for newcomers again.

        Otherwise they wait, in the kernel's queue, until a client has gone.
        """
        if self._overflow == "reject":
            for _ in range(_TURNED_AWAY_AT_ONCE):
                if self._service.reject_one() is not None:
                    break
            return True
        if self._overflow == "evict":
            self.evict()
        return False

    def shed(self) -> None:
        """There is no descriptor for a newcomer: with `overflow = "reject"`, close who waits.

        The spare descriptor is lent to each of them in turn. Otherwise nothing is done: who waits
        in the kernel's queue is served as soon as something is closed.
        """
        if self._overflow == "evict":
            self.evict()
        if self._overflow != "reject" or self._spare is None:
            return
        while self._spare.give():
            error = self._service.reject_one(at_once=True)
            if not self._spare.take() or error is not None:
                break

    def evict(self) -> None:
        """Close the client who has been parked longest; if nobody is parked, once one is."""
        lot = self._run.time_clients()
        client = lot.longest_parked()
        if client is None:
            self._run.look_when_one_parks()
        else:
            self._service.counters.evicted += 1
            lot.end_soon(client)

    def close(self) -> None:
        self._rejections.close()
        if self._spare is not None:
            self._spare.give()
