"""Echo: each user keeps one connection, sends a line and waits for the same line.

Start a server, under any mixin:

    greensock serve greensock.examples:Echo --mixin greenlet

Load it, with the web UI at http://localhost:8089 ...

    locust -f loadtests/locust_echo.py --host tcp://127.0.0.1:9999

... or without: 50 users, 2,000 requests/s in all, for 15 s:

    locust -f loadtests/locust_echo.py --host tcp://127.0.0.1:9999 --headless \\
        -u 50 -r 100 -t 15s -s 2 --rate 2000

`--rate 0` asks again as soon as the last answer is there; then it is locust, at about 25,000/s,
that is measured, and not the server. `--arrivals poisson`, `--stages 10s:1000,10s:1000-4000` and
`--collect FILE` (JSON, microseconds, per second) work for every file here, and so do locust's
`--processes 2`, and `--master` and `--worker` on several machines.

The host may also be tls://127.0.0.1:9999 (SSL_CERT_FILE=cert.pem trusts a certificate of your
own) or unix:/tmp/echo.sock.
"""

from __future__ import annotations

from typing import Any

from greensock.loadtest import SocketUser, events, schedule_from_command_line, task


def add_options(parser: Any) -> None:
    parser.add_argument(
        "--payload-size",
        type=int,
        default=64,
        env_var="GREENSOCK_PAYLOAD_SIZE",
        help="bytes of each line, its line feed included",
    )


events.init_command_line_parser.add_listener(add_options)


class EchoUser(SocketUser):
    host = "tcp://127.0.0.1:9999"
    wait_time = schedule_from_command_line(rate=2000)

    @task
    def echo(self) -> None:
        size = max(1, self.environment.parsed_options.payload_size)
        line = b"x" * (size - 1) + b"\n"
        self.client.exchange(line, "echo", check=line)
