"""Few active clients among many idle ones: do the idle ones slow the others down?

Before the load begins, locust opens --idle silent clients (2,000), each with one exchange of its
own ("first exchange"); they take 1.2 KiB each here. The users then echo as in locust_echo.py. When
the test ends, each idle client that the server has lost is counted ("idle clients lost").

    greensock serve greensock.examples:Echo --mixin greenlet
    locust -f loadtests/locust_idle_active.py --host tcp://127.0.0.1:9999

Then open http://localhost:8089; or, without it:

    locust -f loadtests/locust_idle_active.py --host tcp://127.0.0.1:9999 --headless \\
        -u 50 -r 100 -t 15s -s 2 --idle 5000 --rate 2000

Run it again with `--idle 0` and compare the percentiles. The run time begins before the idle
clients are opened, 1 to 2 s for 5,000. In a distributed test each worker holds --idle clients.
"""

from __future__ import annotations

from typing import Any

from locust.env import Environment
from locust.runners import MasterRunner

from greensock.loadtest import (
    IdleSwarm,
    SocketClient,
    SocketUser,
    events,
    schedule_from_command_line,
    task,
)

LINE = b"x" * 63 + b"\n"


def add_options(parser: Any) -> None:
    parser.add_argument(
        "--idle",
        type=int,
        default=2000,
        env_var="GREENSOCK_IDLE",
        help="silent clients that each locust process holds",
    )


def prove(client: SocketClient) -> None:
    client.exchange(LINE, "first exchange", check=LINE)


_swarms: list[IdleSwarm] = []


def open_swarm(environment: Environment, **_: Any) -> None:
    options = environment.parsed_options
    if options is None or isinstance(environment.runner, MasterRunner):
        return
    swarm = IdleSwarm(environment, environment.host or ActiveUser.host)
    _swarms.append(swarm)
    swarm.open(options.idle, prove)


def close_swarm(**_: Any) -> None:
    while _swarms:
        swarm = _swarms.pop()
        swarm.count_lost()
        swarm.close()


events.init_command_line_parser.add_listener(add_options)
events.test_start.add_listener(open_swarm)
events.test_stop.add_listener(close_swarm)


class ActiveUser(SocketUser):
    host = "tcp://127.0.0.1:9999"
    wait_time = schedule_from_command_line(rate=2000)

    @task
    def echo(self) -> None:
        self.client.exchange(LINE, "echo", check=LINE)
