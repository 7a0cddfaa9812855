"""Idle clients: thousands that are connected and silent, each proved alive by an exchange.

A connected client need not be a served one: the kernel connects clients before the server has
accepted them. So each user has one exchange ("hello"), is silent for --silence seconds ("idle",
which fails if the server closes the connection or says something), and begins again.

    greensock serve greensock.examples:Echo --mixin greenlet
    locust -f loadtests/locust_idle.py --host tcp://127.0.0.1:9999

Then open http://localhost:8089; or, without it, 5,000 clients for a minute:

    locust -f loadtests/locust_idle.py --host tcp://127.0.0.1:9999 --headless \\
        -u 5000 -r 500 -t 1m -s 2 --silence 20

Look at the server meanwhile (`ps -o rss,nlwp -p PID`). Each client takes an open file at both
ends (`ulimit -Hn`) and 19 KiB here; `greensock compare` holds them in less.
"""

from __future__ import annotations

from typing import Any

from locust.exception import LocustError

from greensock.loadtest import SocketUser, events, task

HELLO = b"hello\n"


def add_options(parser: Any) -> None:
    parser.add_argument(
        "--silence",
        type=float,
        default=30.0,
        env_var="GREENSOCK_SILENCE",
        help="seconds between two exchanges of a client",
    )


events.init_command_line_parser.add_listener(add_options)


class IdleUser(SocketUser):
    host = "tcp://127.0.0.1:9999"

    @task
    def hello_and_silence(self) -> None:
        reply = self.client.exchange(HELLO, "hello", check=HELLO)
        if reply.ok:
            self.be_silent(self.environment.parsed_options.silence)

    def be_silent(self, seconds: float) -> None:
        """A sample only if it fails: a silence of 30 s has no response time worth a percentile."""
        try:
            self.client.expect_silence(seconds)
        except (OSError, LocustError) as error:
            with self.client.request("idle"):
                raise error
