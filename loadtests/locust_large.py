"""Large messages: 1 MiB there and back, and readers that take their time with it.

    greensock serve loadtests/_servers.py:Block --mixin greenlet
    locust -f loadtests/locust_large.py --host tcp://127.0.0.1:9999

Then open http://localhost:8089; or, without it:

    locust -f loadtests/locust_large.py --host tcp://127.0.0.1:9999 --headless \\
        -u 8 -r 8 -t 15s -s 2 --rate 50

LargeUser reads as fast as it can ("block"): what copying costs. SlowReader takes 64 KiB every
10 ms ("slow block"), so the server must wait until the kernel's buffers have room: does that hold
up the others? Name one class to run it alone: `locust -f loadtests/locust_large.py LargeUser ...`.
The rate is for both together; without `--rate` each user asks as soon as it is answered.
"""

from __future__ import annotations

from typing import Any

import gevent

from greensock.loadtest import SocketUser, events, schedule_from_command_line, task

SLICE_SIZE = 65536
SLICE_PAUSE = 0.01


def add_options(parser: Any) -> None:
    parser.add_argument(
        "--block-size",
        type=int,
        default=1 << 20,
        env_var="GREENSOCK_BLOCK_SIZE",
        help="bytes of each message",
    )


events.init_command_line_parser.add_listener(add_options)


class BlockUser(SocketUser):
    abstract = True
    host = "tcp://127.0.0.1:9999"
    wait_time = schedule_from_command_line(rate=0)

    @property
    def block(self) -> bytes:
        size: int = self.environment.parsed_options.block_size
        return b"x" * size


class LargeUser(BlockUser):
    weight = 3

    @task
    def exchange_block(self) -> None:
        block = self.block
        message = b"%d\n" % len(block) + block
        self.client.exchange(message, "block", expect=len(block), check=block)


class SlowReader(BlockUser):
    weight = 1

    @task
    def exchange_block_slowly(self) -> None:
        block = self.block
        with self.client.request("slow block") as reply:
            self.client.send(b"%d\n" % len(block) + block)
            left = len(block)
            while left > 0:
                part = self.client.receive_exactly(min(left, SLICE_SIZE))
                left -= len(part)
                gevent.sleep(SLICE_PAUSE)
            reply.data = block
