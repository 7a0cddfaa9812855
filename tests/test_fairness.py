"""Fairness: whatever one client does, the others are answered, after a bounded amount of its work.

Amounts are counted in the server, from the moment at which the other client's question is there:
the handler at work sends it itself, so that no clock and no scheduling of the test's comes in.
"""

import contextlib
import fcntl
import os
import signal
from collections.abc import Iterator
from typing import Any, ClassVar

import gevent
import pytest

from greensock import StreamRequestHandler
from greensock.testing import running

from .clients import (
    Client,
    ask,
    clients,
    connect,
    eventually,
    receive_line,
    wait_until_parked,
)
from .separate_process import HERE, LIBUV, PATCHED, PATCHED_LIBUV, STUCK, UNPATCHED
from .server_kinds import CONCURRENT, GREENLET, MIXINS, NONE, THREADING, Echo, make_server

pytest_plugins = ["tests.alone"]

in_each_process = pytest.mark.parametrize("mode", [HERE, PATCHED, LIBUV])
under_every_mixin = pytest.mark.parametrize("mixin", MIXINS)
# Where all turns share a thread, so that what comes between two of them can be counted. (Native
# threads and children take turns as the system pleases.)
in_one_thread = pytest.mark.parametrize(
    ("mode", "mixin"),
    [
        *((mode, mixin) for mode in (HERE, PATCHED, LIBUV) for mixin in (NONE, GREENLET)),
        (PATCHED, THREADING),
        (PATCHED_LIBUV, THREADING),
    ],
)

#: Requests of one client in a turn.
TURN = 32
#: Accepts for one wake-up of the listener.
BATCH = 8


class Asked:
    """A question that `other` puts at one moment, and how much was done until it was heard."""

    def __init__(self, other: Client) -> None:
        self._other = other
        self._asked_at = -1
        self.done = 0
        self.waited: int | None = None

    def work(self, ask_after: int) -> None:
        """Count a piece of work; once it is the one, the question is on its way."""
        self.done += 1
        if self.done == ask_after:
            self._asked_at = self.done
            self._other.sendall(b"?\n")

    def hear(self) -> None:
        self.waited = self.done - self._asked_at


class Flooded(Echo):
    """Hears one client's flood, which it does not answer, and other clients' questions."""

    asked: ClassVar[Asked]

    def handle_one_request(self) -> None:
        if self.rfile.readline() == b"?\n":
            self.asked.hear()
            self.wfile.write(b"!\n")
        else:
            self.asked.work(ask_after=1000)


def count_requests_before_another(mixin: str, lines: int) -> None:
    with (
        running(make_server(mixin, Flooded)) as address,
        connect(address) as flooder,
        connect(address) as other,
    ):
        asked = Flooded.asked = Asked(other)
        # All of it fits into the kernel's buffers.
        flooder.sendall(b"x\n" * lines)
        assert receive_line(other) == b"!\n"
        eventually(lambda: asked.done == lines)
        # The rest of the turn that is under way, the one that is due when the loop has looked at
        # its descriptors, and one that begins beside the other client's.
        assert asked.waited is not None
        assert asked.waited <= 3 * TURN


@in_one_thread
def test_flooder_is_heard_a_bounded_number_of_times_before_another(
    alone, mode: str, mixin: str
) -> None:
    alone(mode, count_requests_before_another, mixin, 50_000)


class HearsFlood(Echo):
    """Answers all but a flood."""

    def handle_one_request(self) -> None:
        if (line := self.rfile.readline()) != b"x\n":
            self.wfile.write(line)


class HearsFloodWhole(StreamRequestHandler):
    def handle(self) -> None:
        for line in self.rfile:
            if line != b"x\n":
                self.wfile.write(line)


@contextlib.contextmanager
def endless_flood(address: Any) -> Iterator[None]:
    """A client, in a process of its own, who sends as fast as it is heard.

    On a machine that has other things to do, it leaves them the processor.
    """
    with connect(address) as flooder:
        os.set_blocking(flooder.fileno(), True)
        stdout = (os.POSIX_SPAWN_DUP2, flooder.fileno(), 1)
        pid = os.posix_spawnp(
            "nice", ["nice", "-n19", "yes", "x"], os.environ, file_actions=[stdout]
        )
        try:
            yield
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def answer_beside_endless_floods(mixin: str, handler: str, limits: dict[str, Any]) -> None:
    kind = {each.__name__: each for each in (HearsFlood, HearsFloodWhole)}[handler]
    server = make_server(mixin, kind, **limits)
    with running(server) as address, contextlib.ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(endless_flood(address))
        eventually(lambda: server.stats().busy > 0)
        with clients(address, 3) as others:
            for _ in range(3):
                for client in others:
                    assert ask(client, b"?\n") == b"?\n"


# Each flood keeps a processor busy.
answer_beside_endless_floods.stuck_after = 4 * STUCK


@pytest.mark.parametrize("mode", [UNPATCHED, PATCHED, LIBUV])
@pytest.mark.parametrize(
    ("mixin", "handler", "limits"),
    [
        *((mixin, "HearsFlood", {}) for mixin in MIXINS),
        *((mixin, "HearsFloodWhole", {}) for mixin in CONCURRENT),
        # One place, which the floods do not keep either. (They keep a child: what it has read
        # cannot go back to its parent.)
        (GREENLET, "HearsFlood", {"max_greenlets": 1}),
        (THREADING, "HearsFlood", {"max_threads": 1}),
    ],
)
def test_endless_floods_keep_nobody_from_an_answer(
    alone, mode: str, mixin: str, handler: str, limits: dict[str, Any]
) -> None:
    alone(mode, answer_beside_endless_floods, mixin, handler, limits)


class Large(Echo):
    """Answers with more than the kernel takes for a client who does not read."""

    size = 8 << 20
    marks: ClassVar[int]

    def mark(self, what: bytes) -> None:
        """One file for threads, greenlets and children alike.

        Opened to append: writes to a memfd do not wait for each other's position (unlike those to
        a file by name), so that two threads could write their marks to the same place.
        """
        os.write(self.marks, what)

    def handle_one_request(self) -> None:
        line = self.rfile.readline()
        if line == b"much\n":
            self.mark(b"b")
            self.wfile.write(bytes(self.size))
            self.mark(b"e")
        self.wfile.write(line)


def answer_beside_the_deaf(mixin: str) -> None:
    Large.marks = os.memfd_create("marks")
    fcntl.fcntl(Large.marks, fcntl.F_SETFL, os.O_APPEND)
    with (
        running(make_server(mixin, Large)) as address,
        clients(address, 3) as deaf,
        clients(address, 3) as others,
    ):
        for client in deaf:
            client.sendall(b"much\n")
        eventually(lambda: os.pread(Large.marks, 10, 0) == b"bbb")
        for _ in range(20):
            for client in others:
                assert ask(client, b"?\n") == b"?\n"
        assert os.pread(Large.marks, 10, 0) == b"bbb"
        # Nothing is lost for having waited.
        for client in deaf:
            received = bytearray()
            while not received.endswith(b"\n"):
                received += client.recv(1 << 20)
            assert received == bytes(Large.size) + b"much\n"
    os.close(Large.marks)


@in_each_process
@pytest.mark.parametrize("mixin", CONCURRENT)
def test_clients_who_never_read_keep_nobody_from_an_answer(alone, mode: str, mixin: str) -> None:
    """Without a mixin they do: `write_timeout` is for that."""
    alone(mode, answer_beside_the_deaf, mixin)


class Computing(Echo):
    """Computes, and yields as one should; or hears a question."""

    asked: ClassVar[Asked]

    def handle_one_request(self) -> None:
        if self.rfile.readline() == b"?\n":
            self.asked.hear()
            self.wfile.write(b"!\n")
            return
        while self.asked.waited is None:
            sum(range(1000))
            self.asked.work(ask_after=10)
            gevent.sleep(0.001)
        self.wfile.write(b"done\n")


def count_yields_before_another(mixin: str) -> None:
    with (
        running(make_server(mixin, Computing)) as address,
        connect(address) as busy,
        connect(address) as other,
    ):
        asked = Computing.asked = Asked(other)
        assert ask(busy, b"compute\n") == b"done\n"
        assert receive_line(other) == b"!\n"
        # Each sleep lets the loop look at all descriptors once.
        assert asked.waited is not None
        assert asked.waited <= 3


@pytest.mark.parametrize(
    ("mode", "mixin"),
    [(HERE, GREENLET), (PATCHED, GREENLET), (LIBUV, GREENLET), (PATCHED, THREADING)],
)
def test_computation_that_yields_is_gone_on_with_a_few_times_before_another(
    alone, mode: str, mixin: str
) -> None:
    alone(mode, count_yields_before_another, mixin)


class CountingHeard(Echo):
    """Hears a question beside a crowd that connects; answers how many were let in meanwhile."""

    asked: ClassVar[Asked]

    def handle_one_request(self) -> None:
        self.rfile.readline()
        self.asked.hear()
        self.wfile.write(b"%d\n" % (self.asked.waited or 0))


def count_accepts_before_another(mixin: str, crowd: int, bound: int) -> None:
    def verify_request(self: Any, request: Any, client_address: Any) -> bool:
        asked.work(ask_after=100)
        return True

    server = make_server(mixin, CountingHeard, verify_request=verify_request)
    # The other one has been let in long before it asks; the crowd waits in the kernel's queue.
    with connect(server.server_address) as other:
        asked = CountingHeard.asked = Asked(other)
        with clients(server.server_address, crowd), running(server):
            assert int(receive_line(other)) <= bound
            eventually(lambda: asked.done == crowd + 1)
            wait_until_parked(server, crowd + 1)


@in_each_process
@pytest.mark.parametrize("mixin", MIXINS)
def test_crowd_that_connects_is_let_in_a_batch_at_a_time_before_an_exchange(
    alone, mode: str, mixin: str
) -> None:
    # A native thread has to get hold of the interpreter before it hears anything.
    threads = mixin == THREADING and mode != PATCHED
    crowd = 400
    alone(mode, count_accepts_before_another, mixin, crowd, crowd if threads else 2 * BATCH)
