"""What has arrived when a drain begins is answered, and looking for it waits for nobody."""

import threading

import pytest

from ..clients import ask, clients, connect, receive_all, receive_line, wait_until_parked
from ..separate_process import HERE, PATCHED, STUCK
from ..server_kinds import GREENLET, THREADING, Echo, make_server, patched_or_not, under_every_mixin
from .test_draining import Draining, serving

pytest_plugins = ["tests.alone"]

gate = threading.Event()


class Gated(Echo):
    """Holds its client at the first line, and echoes the others."""

    def handle_one_request(self) -> None:
        line = self.rfile.readline()
        self.wfile.write(line)
        if line == b"hold\n":
            gate.wait(STUCK)


def answer_all_that_has_come(mixin: str, count: int) -> None:
    """Pipelined behind a request that is under way when the drain begins.

    Each line is as long as a thread's first read, so that none has it read beyond its own.
    """
    gate.clear()
    server = make_server(mixin, Gated, linger=0.5)
    lines = b"".join(b"%0478d\n" % number for number in range(count))
    with serving(server), connect(server.server_address) as client:
        assert ask(client, b"hold\n") == b"hold\n"
        client.sendall(lines)
        draining = Draining(server, 20)
        gate.set()
        assert receive_all(client) == lines
        report = draining.end()
        # Parked already if it was done before the hub has begun with the drain.
        assert (report.finished + report.parked, report.cut) == (1, ())


@pytest.mark.parametrize("count", [1, 40])
@pytest.mark.parametrize(
    ("mode", "mixin"), [(HERE, THREADING), (PATCHED, THREADING), (PATCHED, GREENLET)]
)
def test_what_has_arrived_before_a_drain_is_answered(
    alone, mode: str, mixin: str, count: int
) -> None:
    alone(mode, answer_all_that_has_come, mixin, count)


class WithTimeout(Echo):
    timeout = 60


def close_parked_with_timeouts(mixin: str) -> None:
    server = make_server(mixin, WithTimeout, linger=0.001)
    server.pause()
    with serving(server), clients(server.server_address, 3) as each:
        for client in each:
            client.sendall(b"x\n")
        server.resume()
        for client in each:
            assert receive_line(client) == b"x\n"
        wait_until_parked(server, 3)
        assert server.drain(20)[:3] == (0, 3, ())


@patched_or_not
@under_every_mixin
def test_parked_clients_with_a_timeout_are_closed_at_once(alone, mode: str, mixin: str) -> None:
    alone(mode, close_parked_with_timeouts, mixin)
