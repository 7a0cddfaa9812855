"""Each user asks for little, and one time in twenty for a hundred times as much."""

from __future__ import annotations

from locust import task

from greensock.compare.scenarios.settings import PAYLOAD_SIZE, TIMEOUT, line_of, told_schedule
from greensock.loadtest import SocketUser

_SHORT = b"short " + line_of(PAYLOAD_SIZE)
_LONG = b"long " + line_of(PAYLOAD_SIZE)


class MixedUser(SocketUser):
    wait_time = told_schedule()
    network_timeout = TIMEOUT

    @task(19)
    def ask_for_little(self) -> None:
        self.client.exchange(_SHORT, "short", check=_SHORT)

    @task(1)
    def ask_for_much(self) -> None:
        self.client.exchange(_LONG, "long", check=_LONG)
