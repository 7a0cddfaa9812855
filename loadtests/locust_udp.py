"""UDP: numbered datagrams to an echo, with losses and late replies counted.

    greensock serve loadtests/_servers.py:Datagram --mixin greenlet --bind udp://127.0.0.1:9999
    locust -f loadtests/locust_udp.py --host udp://127.0.0.1:9999

Then open http://localhost:8089; or, without it:

    locust -f loadtests/locust_udp.py --host udp://127.0.0.1:9999 --headless \\
        -u 50 -r 100 -t 15s -s 2 --rate 1000

A reply that has not come after 1 s (`--lost-after`) is a failure, "no reply within the network
timeout". At the end locust's log tells the "lost datagrams", and the "stale replies": those that
came when their request had been given up.
"""

from __future__ import annotations

from typing import Any

from greensock.loadtest import UDPUser, events, schedule_from_command_line, task

PAYLOAD = b"x" * 64


def add_options(parser: Any) -> None:
    parser.add_argument(
        "--lost-after",
        type=float,
        default=1.0,
        env_var="GREENSOCK_LOST_AFTER",
        help="seconds after which a reply is given up",
    )


events.init_command_line_parser.add_listener(add_options)


class DatagramUser(UDPUser):
    host = "udp://127.0.0.1:9999"
    wait_time = schedule_from_command_line(rate=1000)
    numbered = True

    def on_start(self) -> None:
        self.client.network_timeout = self.environment.parsed_options.lost_after
        super().on_start()

    @task
    def echo(self) -> None:
        self.client.exchange(PAYLOAD, "datagram", check=PAYLOAD)
