"""What is done to the servers of a soak while their clients go on."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import signal
import socket
import struct
import time
from collections.abc import Callable, Iterable, Iterator

from greensock.processes.seen import descriptors_of
from loadtests.soaking.stage import Stage
from loadtests.soaking.tls_faults import new_certificate, spoiled_handshakes

Fault = Callable[[Stage], None]

# Seconds for a server to be back after a drain.
_BACK_AGAIN = 15.0

# Seconds to connect; who gets no place does without.
_SOON = 5.0


def resets(stage: Stage) -> None:
    """Clients break off, amid their request or its answer."""
    for number in range(200):
        if stage.over.is_set():
            break
        kind = _any_stream(stage, number)
        with contextlib.suppress(OSError), stage.connect(kind, _SOON) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            stage.spoil(kind)
            sock.sendall((b"half a line", b"whole lines\n" * 2000)[number % 2])
            if number % 2 and kind != "push":
                # So that the answer is on its way.
                sock.recv(1)
        stage.over.wait(0.005)


def flood(stage: Stage) -> None:
    """A client asks as fast as it can, and another never reads."""
    with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
        eager, deaf = (stack.enter_context(stage.connect("echo", _SOON)) for _ in range(2))
        eager.settimeout(0.05)
        deaf.setblocking(False)
        end = time.monotonic() + 1.5
        block = b"flood\n" * 2000
        while time.monotonic() < end and not stage.over.is_set():
            with contextlib.suppress(TimeoutError, BlockingIOError):
                eager.send(block)
            with contextlib.suppress(TimeoutError):
                eager.recv(1 << 20)
            with contextlib.suppress(BlockingIOError):
                deaf.send(block)


def crowd(stage: Stage) -> None:
    """Many connect, stay idle, and leave all at once."""
    with contextlib.ExitStack() as stack:
        for number in range(300):
            kind = _any_stream(stage, number)
            with contextlib.suppress(OSError):
                stack.enter_context(stage.connect(kind, _SOON))
                stage.spoil(kind)
        stage.over.wait(1.0)


def half_lines(stage: Stage) -> None:
    """Clients send half a request and stay; never to a server without a mixin."""
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            with contextlib.suppress(OSError):
                stack.enter_context(stage.connect("echo", _SOON)).sendall(b"half")
        stage.over.wait(2.0)


def few_files(stage: Stage) -> None:
    """The server may open no more files for a while, and a crowd comes."""
    view = stage.views["echo"]
    before = resource.prlimit(view.pid, resource.RLIMIT_NOFILE)
    lowest = max(descriptors_of(view.pid)) + 2
    try:
        resource.prlimit(view.pid, resource.RLIMIT_NOFILE, (lowest, before[1]))
        with contextlib.ExitStack() as stack:
            for _ in range(30):
                with contextlib.suppress(OSError):
                    stack.enter_context(stage.connect("echo", _SOON))
            stage.over.wait(1.0)
    finally:
        resource.prlimit(view.pid, resource.RLIMIT_NOFILE, before)


def stopped_servers(stage: Stage) -> None:
    """The servers stand still for half a second, as on a machine that is too busy."""
    for _ in range(2):
        with _standing_still(view.pid for view in stage.views.values()):
            stage.over.wait(0.5)
        stage.over.wait(0.5)


def stopped_children(stage: Stage) -> None:
    """Children are stopped for half a second."""
    for _ in range(3):
        with _standing_still(_children(stage)):
            stage.over.wait(0.5)
        stage.over.wait(0.2)


def killed_children(stage: Stage) -> None:
    """Children are killed, in the middle of whatever they do."""
    for _ in range(20):
        for view in stage.views.values():
            children = view.processes()[1:]
            if children:
                _send_signal(random.choice(children), signal.SIGKILL)
        if stage.over.wait(0.1):
            break


def drained(stage: Stage) -> None:
    """The servers are drained, and others made in the same processes at the same addresses."""
    for view in stage.views.values():
        _send_signal(view.pid, signal.SIGUSR1)
    end = time.monotonic() + _BACK_AGAIN
    for kind in stage.addresses:
        while kind != "udp":
            try:
                with stage.connect(kind, _SOON) as sock:
                    stage.spoil(kind)
                    sock.shutdown(socket.SHUT_WR)
                    sock.recv(1)
                break
            except OSError as error:
                if time.monotonic() > end:
                    stage.count.hung.append(f"{kind} is not back after its drain: {error}")
                    break
                time.sleep(0.05)


def _any_stream(stage: Stage, number: int) -> str:
    """One server of streams after the other."""
    streams = [kind for kind in stage.addresses if kind != "udp"]
    return streams[number % len(streams)]


def _children(stage: Stage) -> list[int]:
    return [pid for view in stage.views.values() for pid in view.processes()[1:]]


@contextlib.contextmanager
def _standing_still(pids: Iterable[int]) -> Iterator[None]:
    stopped = list(pids)
    try:
        for pid in stopped:
            _send_signal(pid, signal.SIGSTOP)
        yield
    finally:
        for pid in stopped:
            _send_signal(pid, signal.SIGCONT)


def _send_signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


#: Faults that may end connections of good clients: who has no child or descriptor is not served,
#: and who is parked is closed by a drain. So the servers may not count what the clients do.
DESTRUCTIVE: tuple[Fault, ...] = (few_files, killed_children, drained)
#: Faults by which clients send what the server never receives.
WASTEFUL: tuple[Fault, ...] = (*DESTRUCTIVE, flood)

# A client who never reads, or stops amid its line, has a server without a mixin to itself.
_ANYWHERE: tuple[Fault, ...] = (resets, crowd, few_files, stopped_servers, drained)
_WITH_MIXIN: tuple[Fault, ...] = (flood, half_lines)
_WITH_CHILDREN: tuple[Fault, ...] = (stopped_children, killed_children)
_WITH_TLS: tuple[Fault, ...] = (spoiled_handshakes, new_certificate)


def faults_for(mixin: str, kinds: Iterable[str]) -> tuple[Fault, ...]:
    """What may be done to servers with this mixin, whose good clients must not notice."""
    return (
        *_ANYWHERE,
        *(_WITH_MIXIN if mixin != "none" else ()),
        *(_WITH_CHILDREN if mixin == "forking" else ()),
        *(_WITH_TLS if "tls" in kinds else ()),
    )


class Deck:
    """Deals the faults of a mixin in changing order, all of them before any comes again."""

    def __init__(self, faults: Iterable[Fault], rng: random.Random) -> None:
        self._faults = tuple(faults)
        self._rng = rng
        self._left: list[Fault] = []

    def deal(self, count: int) -> tuple[Fault, ...]:
        """The next `count` faults, none of them twice."""
        dealt: list[Fault] = []
        while len(dealt) < min(count, len(self._faults)):
            if not self._left:
                self._left = self._rng.sample(self._faults, len(self._faults))
            fault = self._left.pop()
            if fault not in dealt:
                dealt.append(fault)
        return tuple(dealt)
