"""Runs of serve_forever, one after the other and in whatever thread, and who counts meanwhile."""

import contextlib
import os
import queue
import resource
import select
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from greensock.testing import running

from ..clients import answer_of, ask, connect, eventually, receive_all
from ..separate_process import UNPATCHED
from ..server_kinds import (
    FORKING,
    GREENLET,
    HANDLERS,
    THREADING,
    ClassicEcho,
    Echo,
    handlers,
    make_server,
    patched_or_not,
    under_every_mixin,
)

pytest_plugins = ["tests.alone"]


# One run at a time.


def refuse_a_second_run(mixin: str) -> None:
    server = make_server(mixin, Echo)
    with running(server) as address:
        assert answer_of(address, b"x\n") == b"x\n"
        with pytest.raises(RuntimeError, match="is running already"):
            server.serve_forever()
        assert answer_of(address, b"y\n") == b"y\n"


@patched_or_not
@under_every_mixin
def test_second_run_at_the_same_time_is_refused(alone, mode: str, mixin: str) -> None:
    alone(mode, refuse_a_second_run, mixin)


def serve_again_amid_handlers(mixin: str, handler: str) -> None:
    """A client who is busy when a run ends is served on, and belongs to the next run after that."""
    server = make_server(mixin, HANDLERS[handler])
    first_run = threading.Thread(target=server.serve_forever)
    first_run.start()
    with connect(server.server_address) as first:
        assert ask(first, b"a\n") == b"a\n"
        server.shutdown()
        with running(server), connect(server.server_address) as second:
            assert ask(second, b"b\n") == b"b\n"
            assert ask(first, b"c\n") == b"c\n"
            assert server.stats().open == 2
            first.close()
            first_run.join()
            assert ask(second, b"d\n") == b"d\n"
            eventually(lambda: server.stats().open == 1)
            second.close()
            eventually(lambda: server.stats().open == 0)


@patched_or_not
@handlers
@pytest.mark.parametrize("mixin", [GREENLET, THREADING, FORKING])
def test_second_run_amid_handlers_of_the_first(alone, mode: str, mixin: str, handler: str) -> None:
    alone(mode, serve_again_amid_handlers, mixin, handler)


# handle_request() and loops of the program's own.


def handle_one_in_a_thread(mixin: str) -> None:
    server = make_server(mixin, ClassicEcho)
    before = None
    for _ in range(3):
        handling = threading.Thread(target=server.handle_request)
        handling.start()
        with connect(server.server_address) as client:
            assert ask(client, b"a\n") == b"a\n"
            assert ask(client, b"b\n") == b"b\n"
        handling.join()
        if mixin == FORKING:
            server.collect_children(blocking=True)
        # The first leaves what a process has once: the main thread's hub, say.
        before = len(os.listdir("/proc/self/fd")) if before is None else before
    eventually(lambda: len(os.listdir("/proc/self/fd")) <= before)
    server.server_close()


@patched_or_not
@under_every_mixin
def test_handle_request_in_a_thread_that_ends(alone, mode: str, mixin: str) -> None:
    alone(mode, handle_one_in_a_thread, mixin)


def accept_in_a_loop_of_its_own(mixin: str) -> None:
    """get_request() waits for a client, and neither fails at once nor stops other greenlets."""
    server = make_server(mixin, ClassicEcho)
    rounds = []
    waiting: queue.Queue[Any] = queue.Queue()

    def accept() -> None:
        while len(rounds) < 3:
            waiting.put(server.get_request())
            rounds.append(1)

    def work() -> None:
        while (got := waiting.get()) is not None:
            server.finish_request(*got)
            server.shutdown_request(got[0])

    threads = [threading.Thread(target=each) for each in (accept, work)]
    for thread in threads:
        thread.start()
    for _ in range(3):
        assert answer_of(server.server_address, b"x\n") == b"x\n"
    waiting.put(None)
    for thread in threads:
        thread.join()
    assert len(rounds) == 3
    server.socket.settimeout(0.01)
    with pytest.raises(TimeoutError):
        server.get_request()
    server.server_close()


@patched_or_not
@under_every_mixin
def test_loop_over_get_request(alone, mode: str, mixin: str) -> None:
    alone(mode, accept_in_a_loop_of_its_own, mixin)


# Who counts as a client, and until when.


def limited(mixin: str, **attributes: Any) -> Any:
    """A server for one client of each address, which notes what it is told of clients."""

    def on_connection(self: Any, state: str, request: Any, client_address: Any) -> None:
        self.told[client_address, state] += 1

    return make_server(
        mixin,
        ClassicEcho,
        max_connections_per_ip=1,
        on_connection=on_connection,
        handle_error=lambda *args: None,
        told=Counter(),
        **attributes,
    )


def first_refused(mixin: str) -> Any:
    def verify_request(self: Any, request: Any, client_address: Any) -> bool:
        self.asked += 1
        return bool(self.asked > 3)

    return limited(mixin, verify_request=verify_request, asked=0)


def first_failing(mixin: str) -> Any:
    def process_request(self: Any, request: Any, client_address: Any) -> None:
        self.asked += 1
        if self.asked <= 3:
            raise ValueError("not this one")
        super(kind, self).process_request(request, client_address)

    server = limited(mixin, process_request=process_request, asked=0)
    kind: Any = type(server)
    return server


def in_a_pool(mixin: str) -> Any:
    pool = ThreadPoolExecutor(2)

    def process_request(self: Any, request: Any, client_address: Any) -> None:
        def work() -> None:
            self.finish_request(request, client_address)
            self.shutdown_request(request)

        pool.submit(work)

    def server_close(self: Any) -> None:
        super(kind, self).server_close()
        pool.shutdown()

    server = limited(mixin, process_request=process_request, server_close=server_close)
    kind: Any = type(server)
    return server


def closed_by_the_program(mixin: str) -> Any:
    def process_request(self: Any, request: Any, client_address: Any) -> None:
        request.sendall(b"x\n")
        request.close()

    return limited(mixin, process_request=process_request)


def detached_by_the_program(mixin: str) -> Any:
    def process_request(self: Any, request: Any, client_address: Any) -> None:
        # Patched, os.close() closes later.
        fd = request.detach()
        os.closerange(fd, fd + 1)

    return limited(mixin, process_request=process_request)


WAYS = (
    first_refused,
    first_failing,
    in_a_pool,
    closed_by_the_program,
    detached_by_the_program,
)


def count_out(mixin: str, way: str) -> None:
    make: Callable[[str], Any] = globals()[way]
    server = make(mixin)
    with running(server) as address:
        for _ in range(6):
            with connect(address) as client, contextlib.suppress(OSError):
                client.sendall(b"x\n")
                client.shutdown(1)
                receive_all(client)
            eventually(lambda: server.stats().open == 0)
            eventually(
                lambda: (
                    sum(server.told[each] for each in server.told if each[1] == "closed")
                    == sum(server.told[each] for each in server.told if each[1] == "new")
                )
            )
        assert server.stats().rejected == 0
        assert set(server.told.values()) == {1}


@patched_or_not
@under_every_mixin
@pytest.mark.parametrize("way", [each.__name__ for each in WAYS])
def test_client_counts_until_its_request_is_closed(alone, mode: str, mixin: str, way: str) -> None:
    alone(mode, count_out, mixin, way)


def limit_of_files_raised() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = len(os.listdir("/proc/self/fd")) + 12
    resource.setrlimit(resource.RLIMIT_NOFILE, (few, hard))
    server = make_server(GREENLET, Echo)
    with contextlib.ExitStack() as stack:
        address = stack.enter_context(running(server))
        served = []
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for _ in range(60):
            client = stack.enter_context(connect(address))
            assert ask(client, b"x\n") == b"x\n"
            served.append(client)
        assert server.stats().open == 60


def test_limit_of_files_that_the_program_raises(alone) -> None:
    alone(UNPATCHED, limit_of_files_raised)


def select_among_servers(mixin: str) -> None:
    """Several servers in one loop of the program's own, over its own select()."""
    servers = [make_server(mixin, ClassicEcho) for _ in range(2)]

    def serve() -> None:
        left = 4
        while left:
            for ready in select.select(servers, [], [])[0]:
                ready._handle_request_noblock()
                left -= 1

    serving = threading.Thread(target=serve)
    serving.start()
    for _ in range(2):
        for server in servers:
            assert answer_of(server.server_address, b"x\n") == b"x\n"
    serving.join()
    for server in servers:
        server.server_close()


@patched_or_not
@under_every_mixin
def test_several_servers_in_one_loop(alone, mode: str, mixin: str) -> None:
    alone(mode, select_among_servers, mixin)
