"""Each user sends datagrams and waits for the reply to each.

An echo's are numbered, so that a late reply is not taken for the next one's.
"""

from __future__ import annotations

import re

from locust import task

from greensock.compare.scenarios.settings import (
    EXPECT,
    PAYLOAD_SIZE,
    TIMEOUT,
    text_of,
    told_schedule,
)
from greensock.loadtest import UDPUser

_PAYLOAD = text_of(PAYLOAD_SIZE)


def is_right(reply: bytes) -> bool:
    """Whether the reply is what `EXPECT` says."""
    if EXPECT == "same":
        return reply == _PAYLOAD
    if EXPECT == "len":
        return len(reply) == len(_PAYLOAD)
    if EXPECT == "line":
        return reply.endswith(b"\n")
    if EXPECT == "any":
        return True
    return re.search(EXPECT.removeprefix("regex:").encode(), reply, re.DOTALL) is not None


class DatagramUser(UDPUser):
    wait_time = told_schedule()
    network_timeout = TIMEOUT
    numbered = EXPECT == "same"

    @task
    def exchange(self) -> None:
        self.client.exchange(_PAYLOAD, check=is_right)
