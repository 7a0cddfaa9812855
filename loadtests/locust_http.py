"""HTTP with keep-alive, over a plain socket: GET / of an http.server handler.

    greensock serve loadtests/_servers.py:Page --mixin greenlet
    locust -f loadtests/locust_http.py --host http://127.0.0.1:9999

Then open http://localhost:8089; or, without it:

    locust -f loadtests/locust_http.py --host http://127.0.0.1:9999 --headless \\
        -u 50 -r 100 -t 15s -s 2 --rate 1000

Why not locust's HttpUser: one process makes 1,000 requests/s with it, 4,000 with FastHttpUser and
15,000 like this. It reads just what http.server sends: a status, headers, Content-Length.
"""

from __future__ import annotations

import re

from locust.exception import LocustError

from greensock.loadtest import TCPUser, schedule_from_command_line, task

GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
CONTENT_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)[ \t]*\r\n", re.IGNORECASE)
CONNECTION_CLOSE = re.compile(rb"\r\nconnection:[ \t]*close[ \t]*\r\n", re.IGNORECASE)


class PageUser(TCPUser):
    host = "http://127.0.0.1:9999"
    wait_time = schedule_from_command_line(rate=1000)

    @task
    def get_page(self) -> None:
        with self.client.request("GET /") as reply:
            self.client.send(GET)
            head = self.client.receive_until(b"\r\n\r\n")
            length = CONTENT_LENGTH.search(head)
            if length is None:
                raise LocustError("the answer has no Content-Length")
            reply.data = self.client.receive_exactly(int(length[1]))
            if not head.startswith((b"HTTP/1.1 200 ", b"HTTP/1.0 200 ")):
                reply.failure(head.partition(b"\r\n")[0].decode("latin-1"))
        if reply.ok and CONNECTION_CLOSE.search(head):
            self.client.close()
