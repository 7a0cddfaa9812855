"""A locustfile whose users make a fixed number of exchanges each, and then go.

So the numbers are known, and no request is under way when locust stops.
"""

from __future__ import annotations

import logging
import os

import locust.runners
from locust.env import Environment
from locust.exception import StopUser

from greensock.loadtest import SocketUser, events, schedule_from_command_line, task
from greensock.loadtest.options import total_users

EXCHANGES = int(os.environ["EXCHANGES"])

# A worker's last report is sent when it is told to quit; the master waits for it half a second.
locust.runners.WORKER_REPORT_INTERVAL = 0.2


class CountedUser(SocketUser):
    done = 0
    numbered = True
    wait_time = schedule_from_command_line(rate=0)
    network_timeout = 0.2

    @task
    def echo(self) -> None:
        if self.done == EXCHANGES:
            logging.info("one of %d users", total_users(self))
            raise StopUser
        self.done += 1
        self.client.exchange(b"hello\n", "echo", check=b"hello\n")


def tell_master_port(environment: Environment, **_: object) -> None:
    """Let the test start the workers: a master that is given port 0 chooses one itself."""
    if isinstance(environment.runner, locust.runners.MasterRunner) and "PORT_PIPE" in os.environ:
        with open(int(os.environ["PORT_PIPE"]), "w") as pipe:
            pipe.write(str(environment.runner.server.port))


events.init.add_listener(tell_master_port)
