"""Each user keeps one connection, asks, and waits for the reply."""

from __future__ import annotations

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


class ExchangeUser(SocketUser):
    wait_time = told_schedule()
    network_timeout = TIMEOUT

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self.payload = line_of(PAYLOAD_SIZE)
        self.expect = reply_rule(self.client, self.payload)
        self.check = self.payload if EXPECT == "same" else None

    @task
    def exchange(self) -> None:
        self.client.exchange(self.payload, expect=self.expect, check=self.check)
