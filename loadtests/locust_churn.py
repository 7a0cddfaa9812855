"""Churn: connect, one exchange, close; again and again. What a new client costs the server.

    greensock serve greensock.examples:Echo --mixin forking
    locust -f loadtests/locust_churn.py --host tcp://127.0.0.1:9999

Then open http://localhost:8089; or, without it, 500 clients/s in all:

    locust -f loadtests/locust_churn.py --host tcp://127.0.0.1:9999 --headless \\
        -u 50 -r 100 -t 15s -s 2 --rate 500

The rows are "connect", which the kernel does before the server accepts, and "first exchange", in
which its accepting and starting a handler shows. A session begins at its arrival: late ones are
timed from when they should have begun, connect included.

With `--close reset` the client ends by RST instead of FIN: no TIME_WAIT, and another path in the
server. On a loopback TIME_WAIT ports are used again after 1 s, so a rate up to 28,000/s passes;
over a network it is 470/s for each source address.
"""

from __future__ import annotations

from typing import Any

from greensock.loadtest import SocketUser, events, schedule_from_command_line, task

LINE = b"x" * 63 + b"\n"


def add_options(parser: Any) -> None:
    parser.add_argument(
        "--close",
        choices=["fin", "reset"],
        default="fin",
        env_var="GREENSOCK_CLOSE",
        help="how a client ends its connection",
    )


events.init_command_line_parser.add_listener(add_options)


class ChurnUser(SocketUser):
    host = "tcp://127.0.0.1:9999"
    wait_time = schedule_from_command_line(rate=500)

    @task
    def session(self) -> None:
        self.client.exchange(LINE, "first exchange", check=LINE)
        self.client.close(reset=self.environment.parsed_options.close == "reset")
