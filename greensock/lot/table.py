"""The clients of a lot, by the numbers of their descriptors."""

from __future__ import annotations

from _socket import socket as c_socket
from collections import deque
from collections.abc import Iterator
from typing import Any

from greensock.lot.client import Client

_number_of = c_socket.fileno

# By how many the list grows at least.
_MORE = 64


class ClientTable:
    """Every client admitted to a lot and not yet forgotten, parked or busy.

    A list by number costs each client 8 bytes, a dictionary 30 to 90. Clients are put in by the
    serving greenlet, and taken out in any thread, without a lock: a signal's handler may raise
    wherever one is held.
    """

    def __init__(self) -> None:
        #: Each at the number of its descriptor, while that is its.
        self.by_number: list[Client | None] = [None] * _MORE
        #: Those whose request is closed, and whose turn goes on.
        self._closed: set[Client] = set()
        # Who was put in, less those in `_gone`: appending is one step, counting down is not.
        self._added = 0
        self._gone: deque[None] = deque()

    def add(self, client: Client) -> bool:
        """Take in a client whose request is open.

        True: another has had its number until now, whose descriptor was closed by other means than
        its request's own.
        """
        number = _number_of(client.request)
        missing = number + 1 - len(self.by_number)
        if missing > 0:
            self.by_number.extend([None] * (missing + _MORE))
        before, self.by_number[number] = self.by_number[number], client
        if before is not None:
            self._closed.add(before)
        self._added += 1
        while self._gone:
            self._gone.popleft()
            self._added -= 1
        return before is not None

    def note_closing(self, client: Client) -> None:
        """Its request is about to be closed: the number may be another's from now on."""
        self._closed.add(client)
        self.by_number[_number_of(client.request)] = None

    def discard(self, client: Client) -> None:
        """Take out a client, if it is in it."""
        number = _number_of(client.request)
        by_number = self.by_number
        if 0 <= number < len(by_number) and by_number[number] is client:
            by_number[number] = None
        elif client in self._closed:
            self._closed.remove(client)
        else:
            return
        self._gone.append(None)

    def get(self, request: Any) -> Client | None:
        """The client with this request, if there is one."""
        if not issubclass(type(request), c_socket):
            return None
        number = _number_of(request)
        if 0 <= number < len(self.by_number):
            client = self.by_number[number]
            if client is not None and client.request is request:
                return client
        return next((each for each in list(self._closed) if each.request is request), None)

    def values(self) -> list[Client]:
        """All of them."""
        return [*self.numbered(), *self._closed]

    def numbered(self) -> list[Client]:
        """Those whose request is open."""
        return [*filter(None, self.by_number)]

    def clear(self) -> None:
        """Take out all."""
        self.by_number = [None] * _MORE
        self._closed.clear()
        self._added = 0
        self._gone.clear()

    def __iter__(self) -> Iterator[Any]:
        return iter([client.request for client in self.values()])

    def __contains__(self, request: Any) -> bool:
        return self.get(request) is not None

    def __len__(self) -> int:
        return self._added - len(self._gone)
