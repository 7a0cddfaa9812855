"""The networks that clients come from, and how many clients each has."""

from __future__ import annotations

import ipaddress
from collections import deque
from typing import Any


class NetworkCounts:
    """How many clients each network has, for `max_connections_per_ip`.

    Args:
        limit: the most of one network.
        prefixes: the lengths of the prefixes that make one network, for IPv4 and IPv6.
        trusted: networks without a limit.
    """

    def __init__(self, limit: int, prefixes: tuple[int, int], trusted: Any) -> None:
        self.limit = limit
        self._prefixes = prefixes
        self._trusted = [ipaddress.ip_network(each) for each in trusted]
        #: The clients of each network, by the identity of their request. Sets, and not numbers:
        #: they are left in any thread, without a lock.
        self._members: dict[Any, set[int]] = {}
        self._network_of: dict[int, tuple[Any, Any]] = {}
        #: NetworkCounts whose last client has gone.
        self._empty: deque[Any] = deque()

    def lets_in(self, request: Any, client_address: Any) -> bool:
        """Count a client in, unless its network has had its share."""
        self._tidy()
        network = self._network(client_address)
        if network is not None and len(self._members.get(network, ())) >= self.limit:
            return False
        self._take(id(request), client_address)
        return True

    def take_over(self, request: Any, client_address: Any) -> None:
        """Count a client in who was let in earlier."""
        self._take(id(request), client_address)

    def _take(self, key: int, client_address: Any) -> None:
        network = self._network(client_address)
        # By the request's identity: what client_address says may change, behind a balancer say.
        self._network_of[key] = (client_address, network)
        self._members.setdefault(network, set()).add(key)

    def move_to(self, other: NetworkCounts) -> None:
        """Have `other` go on counting, by settings of its own."""
        for key, (address, _) in self._network_of.items():
            other._take(key, address)

    def release(self, key: int) -> None:
        """Count out the client whose request has, or had, this identity. Idempotent.

        From any thread; all else is the serving thread's.
        """
        found = self._network_of.pop(key, None)
        if found is not None:
            members = self._members[found[1]]
            members.discard(key)
            if not members:
                self._empty.append(found[1])

    def _tidy(self) -> None:
        while self._empty:
            network = self._empty.popleft()
            if not self._members.get(network, True):
                del self._members[network]

    def _network(self, client_address: Any) -> Any:
        """The network of an address; None for no IP address, and for one without a limit."""
        try:
            address = ipaddress.ip_address(client_address[0])
        except (TypeError, ValueError, IndexError, KeyError):
            return None
        mapped = getattr(address, "ipv4_mapped", None)
        if mapped is not None:
            # An IPv4 client of a dual-stack listener is the same client.
            address = mapped
        if any(address in each for each in self._trusted if each.version == address.version):
            return None
        length = self._prefixes[0 if address.version == 4 else 1]
        return address.version, int(address) >> (address.max_prefixlen - length)
