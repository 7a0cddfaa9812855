"""Which descriptors are clients', so that a child can close them without a look at each client.

A look at an object writes to it (its reference count), and the kernel then copies its page for the
child. Beside 10,000 idle clients that was 1,100 of the 1,800 pages that a child had copied, and 3
of its 9 ms.
"""

from __future__ import annotations

import os
from _socket import socket as c_socket
from typing import Any

# A child's own files get the lowest numbers that it closes. So many of the socket objects that had
# them are told that they are closed; of the others, one has a number that names something else only
# in a child with more files than these. Arbitrary: more than a handler opens at once.
_TOLD = 32

# The numbers whose objects are known. Arbitrary: a server's own files and a few clients.
_KNOWN = 1024


class ClientDescriptors:
    """The descriptors of the clients in a lot, kept by number."""

    def __init__(self) -> None:
        self._held = bytearray(_KNOWN)
        self._requests: list[Any] = [None] * _KNOWN

    def add(self, request: Any) -> None:
        """The client's request is open, and in the lot."""
        self._set(request, True)

    def discard(self, request: Any) -> None:
        """It is in the lot no more, or about to be closed: its number may be another's next."""
        self._set(request, False)

    def _set(self, request: Any, held: bool) -> None:
        fd = c_socket.fileno(request)
        if fd < 0:
            return
        if fd >= len(self._held):
            self._held.extend(bytes(fd + 1))
        self._held[fd] = held
        if fd < _KNOWN:
            self._requests[fd] = request if held else None

    def close_all_but(self, kept: Any) -> None:
        """In a child: close every client's descriptor but that of the request `kept`, if any."""
        if kept is not None:
            self.discard(kept)
        held = self._held
        told = 0
        start = held.find(1)
        while start >= 0:
            end = held.find(0, start)
            if end < 0:
                end = len(held)
            os.closerange(start, end)
            for fd in range(start, min(end, _KNOWN, start + _TOLD - told)):
                c_socket.detach(self._requests[fd])
                told += 1
            start = held.find(1, end)
