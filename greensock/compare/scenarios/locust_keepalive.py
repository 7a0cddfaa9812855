"""Each user asks an HTTP server for the same page over one kept connection.

A raw socket and not locust's HttpUser: that needs 0.9 ms of CPU for a request, and would be what
is measured.
"""

from __future__ import annotations

import re

from locust import task
from locust.exception import LocustError

from greensock.compare.scenarios import HTTP_REQUEST
from greensock.compare.scenarios.settings import TIMEOUT, told_schedule
from greensock.loadtest import TCPUser

_REQUEST = HTTP_REQUEST.encode()
_LENGTH = re.compile(rb"\r\ncontent-length:\s*(\d+)\r\n", re.IGNORECASE)


class KeepAliveUser(TCPUser):
    wait_time = told_schedule()
    network_timeout = TIMEOUT

    @task
    def get(self) -> None:
        with self.client.request("GET /") as reply:
            self.client.send(_REQUEST)
            head = self.client.receive_until(b"\r\n\r\n")
            length = _LENGTH.search(head)
            if length is None:
                raise LocustError("a reply without Content-Length")
            reply.data = self.client.receive_exactly(int(length[1]))
            if b" 200 " not in head[:16]:
                reply.failure("the status is not 200")
