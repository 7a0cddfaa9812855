"""Each user sends numbered datagrams to a UDP echo and waits for the same back."""

from __future__ import annotations

from locust import task

from greensock.compare.scenarios.settings import PAYLOAD_SIZE, TIMEOUT, text_of, told_schedule
from greensock.loadtest import UDPUser

_PAYLOAD = text_of(PAYLOAD_SIZE)


class DatagramUser(UDPUser):
    wait_time = told_schedule()
    network_timeout = TIMEOUT
    numbered = True

    @task
    def exchange(self) -> None:
        self.client.exchange(_PAYLOAD, check=_PAYLOAD)
