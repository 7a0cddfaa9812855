"""How to write a runner: here, one that has each turn run by a pool of four threads.

What this module names is all that it takes. A mixin says which runner its servers have, and passes
the hook `process_request` on to it; everything else is as under every mixin: who is idle is parked,
and a turn that is over hands its client back.
"""

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import greensock
from greensock.lot.client import Client
from greensock.lot.outcomes import Turn
from greensock.serving.runner import BlockingRunner
from greensock.serving.service import Service
from greensock.testing import running

from ..clients import ask, clients, wait_until_parked
from ..server_kinds import ClassicEcho, Echo

ANY_PORT = ("127.0.0.1", 0)


class PoolRunner(BlockingRunner):
    resource = "threads"

    def __init__(self, service: Service) -> None:
        super().__init__(service)
        self.pool = ThreadPoolExecutor(4, "turns")

    def runs_on_hub(self) -> bool:
        return False

    def ends_here(self, client: Client) -> bool:
        # The finish() of its handler may block.
        return False

    def start(self, client: Client) -> None:
        self.pool.submit(self.serve, Turn(client))

    def serve(self, turn: Turn) -> None:
        try:
            self.run(turn)
        finally:
            self.hand_back(turn)

    def close(self) -> None:
        self.pool.shutdown()
        super().close()


class PoolMixIn(greensock.BaseServer):
    _greensock_runner = PoolRunner

    def process_request(self, request: Any, client_address: Any) -> None:
        self._greensock.runner.process(request, client_address)


class PoolServer(PoolMixIn, greensock.TCPServer):
    def server_close(self) -> None:
        super().server_close()
        self._greensock.runner.close()


class NamesItsThread(Echo):
    names: ClassVar[set[str]] = set()

    def handle_one_request(self) -> None:
        self.names.add(threading.current_thread().name.partition("_")[0])
        super().handle_one_request()


def test_turns_run_in_the_pool_and_idle_clients_are_parked() -> None:
    server = PoolServer(ANY_PORT, NamesItsThread)
    with running(server) as address, clients(address, 20) as each:
        for _ in range(3):
            for number, client in enumerate(each):
                assert ask(client, b"%d\n" % number) == b"%d\n" % number
        wait_until_parked(server, 20)
        assert NamesItsThread.names == {"turns"}


def test_whole_requests_run_there_too() -> None:
    with running(PoolServer(ANY_PORT, ClassicEcho)) as address, clients(address, 4) as each:
        for client in each:
            assert ask(client, b"x\n") == b"x\n"


def test_drain_ends_with_it() -> None:
    server = PoolServer(ANY_PORT, NamesItsThread)
    with contextlib.ExitStack() as stack:
        address = stack.enter_context(running(server))
        for client in stack.enter_context(clients(address, 3)):
            assert ask(client, b"x\n") == b"x\n"
        wait_until_parked(server, 3)
        report = server.drain(20)
        assert report is not None
        assert report[:3] == (0, 3, ())
