"""Ports for programs that cannot be told to bind port 0 and say what they got."""

from __future__ import annotations

import contextlib
import random
import socket
from pathlib import Path

_HOST = "127.0.0.1"
_LOWEST = 10_000
_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


def free_port(count: int = 1) -> int:
    """The first of `count` ports in a row that nobody has just now.

    From below the ports that the kernel gives out by itself: one of those may be some client's, or
    some other server's, by the time that the program binds it.
    """
    try:
        end = int(_RANGE.read_text().split()[0])
    except (OSError, ValueError):
        end = 32_768
    if end - count <= _LOWEST:
        end = 65_536
    while True:
        first = random.randrange(_LOWEST, end - count)
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            for port in range(first, first + count):
                stack.enter_context(socket.create_server((_HOST, port)))
            return first
