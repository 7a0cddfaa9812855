"""The load of locust_http.py, by locust's own FastHttpUser: what the client costs, not the server.

    greensock serve loadtests/_servers.py:Page --mixin greenlet
    locust -f loadtests/locust_http_fast.py --host http://127.0.0.1:9999

Then open http://localhost:8089; or, without it:

    locust -f loadtests/locust_http_fast.py --host http://127.0.0.1:9999 --headless \\
        -u 50 -r 100 -t 15s -s 2 --rate 1000

One process of it makes 4,000 requests/s. Take it where cookies, redirects or TLS of a real site
matter. A request that begins late is timed from its begin, as locust does it, and not, as a socket
user's, from when it was due.
"""

from __future__ import annotations

from locust import FastHttpUser

from greensock.loadtest import schedule_from_command_line, task


class FastPageUser(FastHttpUser):
    host = "http://127.0.0.1:9999"
    wait_time = schedule_from_command_line(rate=1000)

    @task
    def get_page(self) -> None:
        self.client.get("/")
