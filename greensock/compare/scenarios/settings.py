"""What the comparison told a built-in locustfile (it is run in locust's process only).

Without the comparison's environment variable the defaults hold, so that each file also runs
alone: `locust -f .../locust_exchange.py --host tcp://127.0.0.1:9999`.
"""

from __future__ import annotations

import json
import os
import random
import re
from collections.abc import Callable

from locust.exception import LocustError

from greensock.loadtest import Schedule, SocketClient
from greensock.loadtest.schedule import parse_stages

_told = json.loads(os.environ.get("GREENSOCK_SCENARIO", "{}"))

PAYLOAD_SIZE: int = _told.get("payload_size", 64)
EXPECT: str = _told.get("expect", "line")
TIMEOUT: float = _told.get("timeout", 2.0)
LIMIT = max(1 << 20, 4 * PAYLOAD_SIZE)  # bytes of a reply that never becomes complete


def told_schedule() -> Schedule:
    """Arrivals at the told rate, shared by all users; a closed loop when none was told."""
    return Schedule(
        _told.get("rate", 0.0),
        arrivals=_told.get("arrivals", "constant"),
        stages=parse_stages(_told["stages"]) if _told.get("stages") else (),
        shared_by=_told.get("users", 1),
        random=random.Random(_told.get("seed")),
    )


def text_of(size: int) -> bytes:
    """`size` bytes of text without a line feed, the same in every run."""
    alphabet = b"abcdefghijklmnopqrstuvwxyz"
    return (alphabet * (size // len(alphabet) + 1))[:size]


def line_of(size: int) -> bytes:
    """A line of `size` bytes, its line feed included."""
    return text_of(size - 1) + b"\n"


def reply_rule(client: SocketClient, payload: bytes) -> int | bytes | Callable[[], bytes]:
    """`EXPECT` in the form that `exchange(expect=)` takes."""
    if EXPECT in ("same", "len"):
        return len(payload)
    if EXPECT == "line":
        return lambda: client.receive_line(LIMIT)
    if EXPECT == "any":
        return client.receive
    pattern = re.compile(EXPECT.removeprefix("regex:").encode(), re.DOTALL)
    return lambda: receive_matching(client, pattern)


def receive_matching(client: SocketClient, pattern: re.Pattern[bytes]) -> bytes:
    """Everything received until the pattern is found in it."""
    received = b""
    while pattern.search(received) is None:
        data = client.receive()
        if not data:
            raise ConnectionResetError("the server closed the connection within a reply")
        received += data
        if len(received) > LIMIT:
            raise LocustError(f"the pattern is not in the first {LIMIT} bytes of a reply")
    return received
