"""Echo over a Unix socket: what is left when there is no TCP.

    greensock serve greensock.examples:Echo --mixin threading --bind unix:/tmp/echo.sock
    locust -f loadtests/locust_unix.py --host unix:/tmp/echo.sock

Then open http://localhost:8089; or, without it:

    locust -f loadtests/locust_unix.py --host unix:/tmp/echo.sock --headless \\
        -u 50 -r 100 -t 15s -s 2 --rate 2000
"""

from __future__ import annotations

from greensock.loadtest import UnixUser, schedule_from_command_line, task

LINE = b"x" * 63 + b"\n"


class UnixEchoUser(UnixUser):
    host = "unix:/tmp/echo.sock"
    wait_time = schedule_from_command_line(rate=2000)

    @task
    def echo(self) -> None:
        self.client.exchange(LINE, "echo", check=LINE)
