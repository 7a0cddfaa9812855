"""Whether a server has counted what its clients have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from loadtests.soaking.counting import Count
from loadtests.soaking.faults import DESTRUCTIVE, WASTEFUL, Fault
from loadtests.soaking.fleet import Holding


@dataclass
class Sums:
    """The sums of one mixin's servers, from round to round."""

    mixin: str
    _before: dict[str, Mapping[str, int]] = field(default_factory=dict)

    def expected(self, count: Count, faults: tuple[Fault, ...]) -> dict[str, int]:
        """How many connections each server must have accepted by now; none where nobody can tell.

        Of those who come while a server is drained, some meet its listener's end.
        """
        if set(faults) & set(DESTRUCTIVE):
            return {}
        return {kind: n + self._was(kind, "accepted") for kind, n in count.opened.items()}

    def _was(self, kind: str, name: str) -> int:
        return self._before.get(kind, {}).get(name, 0)

    def add(
        self, holdings: Mapping[str, Holding], count: Count, faults: tuple[Fault, ...]
    ) -> list[str]:
        """Add a round's; a line for each sum that is not the clients'."""
        found = []
        for kind, holding in holdings.items():
            wanted = {"errors": 0, "rejected": 0}
            if kind != "udp" and not set(faults) & set(DESTRUCTIVE):
                wanted["accepted"] = count.opened.get(kind, 0)
                wanted["handshakes_failed"] = count.spoiled.get(kind, 0)
            if kind not in ("udp", "tls") and not set(faults) & set(WASTEFUL):
                wanted["bytes_received"] = count.sent.get(kind, 0)
            for name, number in wanted.items():
                told = holding.counted.get(name, 0) - self._was(kind, name)
                # A client's end may be a byte, see `greensock.net.traffic.volume_of`.
                more = count.opened.get(kind, 0) if name == "bytes_received" else 0
                if not number <= told <= number + more:
                    found.append(
                        f"{kind} under {self.mixin}: {told} {name}, but {number} by its clients, "
                        f"beside {', '.join(fault.__name__ for fault in faults)}"
                    )
            self._before[kind] = holding.counted
        return found
