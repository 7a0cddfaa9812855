"""Each request is a client of its own: connect, one exchange, close.

The time runs from before the connect, because what a new client waits for is all of it.
"""

from __future__ import annotations

import time

from locust import task
from locust.env import Environment

from greensock.compare.scenarios.settings import (
    EXPECT,
    PAYLOAD_SIZE,
    TIMEOUT,
    line_of,
    reply_rule,
    told_schedule,
)
from greensock.loadtest import SocketUser


class ChurnUser(SocketUser):
    wait_time = told_schedule()
    network_timeout = TIMEOUT
    connection_timeout = TIMEOUT

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self.payload = line_of(PAYLOAD_SIZE)
        self.expect = reply_rule(self.client, self.payload)
        self.check = self.payload if EXPECT == "same" else None

    @task
    def visit(self) -> None:
        due = time.perf_counter() if self.client.due is None else self.client.due
        self.client.close()
        self.client.exchange(self.payload, "visit", expect=self.expect, check=self.check, due=due)
        self.client.close()
