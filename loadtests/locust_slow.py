"""Handlers that take their time: one waits 50 ms, as for a database; one computes for 0.5 ms.

Start one of the two:

    greensock serve loadtests/_servers.py:Wait --mixin greenlet
    greensock serve loadtests/_servers.py:Compute --mixin threading

and load it, with the web UI at http://localhost:8089 ...

    locust -f loadtests/locust_slow.py --host tcp://127.0.0.1:9999

... or without. Many waits at once cost a mixin its bound of busy handlers, and little CPU:

    locust -f loadtests/locust_slow.py --host tcp://127.0.0.1:9999 --headless \\
        -u 400 -r 400 -t 15s -s 2 --rate 3000

Computing is bound by the cores, and here the mixins do differ in throughput; no rate is given, so
each user asks again as soon as it is answered:

    locust -f loadtests/locust_slow.py --host tcp://127.0.0.1:9999 --headless \\
        -u 20 -r 20 -t 15s -s 2
"""

from __future__ import annotations

from greensock.loadtest import SocketUser, schedule_from_command_line, task

LINE = b"select 1\n"


class PatientUser(SocketUser):
    host = "tcp://127.0.0.1:9999"
    wait_time = schedule_from_command_line(rate=0)

    @task
    def ask(self) -> None:
        self.client.exchange(LINE, "slow", check=LINE)
