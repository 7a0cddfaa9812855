"""Requests that a program hands over to other processes, as pools of workers do."""

import multiprocessing
import os
import pickle
import socket
import sys
import warnings
from collections.abc import Callable
from multiprocessing import resource_sharer
from typing import Any

import pytest

from greensock.testing import running

from .clients import answer_of, ask, connect, eventually
from .separate_process import NATIVE_THREADS, PATCHED, UNPATCHED
from .server_kinds import (
    ANY_PORT,
    FORKING,
    HANDLERS,
    MIXINS,
    Echo,
    handlers,
    make_server,
    server_class,
    under_every_mixin,
)

pytest_plugins = ["tests.alone"]


class Pickled:
    """Through what `multiprocessing` has for it, which does not work where gevent patches sockets.

    Its connections take a socket's descriptor, which does not block then.
    """

    def __init__(self) -> None:
        self._taken, self._given = multiprocessing.Pipe(duplex=False)

    def give(self, request: Any) -> None:
        self._given.send(request)

    def take(self) -> Any:
        return self._taken.recv()

    def close(self) -> None:
        self._taken.close()
        self._given.close()
        resource_sharer.stop()


class AsDescriptor:
    """Through a Unix socket; blocking ones of the system, patched or not."""

    def __init__(self) -> None:
        self._given, self._taken = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)

    def give(self, request: Any) -> None:
        socket.send_fds(self._given, [b"."], [request.fileno()])

    def take(self) -> Any:
        _, (fd,), _, _ = socket.recv_fds(self._taken, 1, 1)
        return socket.socket(fileno=fd)

    def close(self) -> None:
        self._taken.close()
        self._given.close()


WAYS = {each.__name__: each for each in (Pickled, AsDescriptor)}


def answer(request: Any) -> None:
    """In a worker: answer a line with the worker's pid."""
    with request, request.makefile("rb") as file:
        if file.readline():
            request.sendall(b"%d\n" % os.getpid())


def work(way: Any) -> None:
    while True:
        answer(way.take())


def start_worker(way: Any) -> Any:
    worker = multiprocessing.get_context("fork").Process(target=work, args=(way,), daemon=True)
    with warnings.catch_warnings():
        # Of the threads of a process that forks, from 3.12 on.
        warnings.simplefilter("ignore", DeprecationWarning)
        worker.start()
    return worker


class HandsOver:
    """A server whose requests are a worker's."""

    def process_request(self: Any, request: Any, client_address: Any) -> None:
        self.way.give(request)
        self.close_request(request)


def hand_over_all(mixin: str, handler: str, name: str) -> None:
    way = WAYS[name]()
    worker = start_worker(way)
    server: Any = type("Pool", (HandsOver, server_class(mixin)), {})(ANY_PORT, HANDLERS[handler])
    server.way = way
    with running(server) as address:
        for _ in range(3):
            assert int(answer_of(address, b"?\n")) == worker.pid
    worker.terminate()
    worker.join()
    way.close()


@pytest.mark.parametrize(
    ("mode", "way"),
    [(UNPATCHED, "Pickled"), (UNPATCHED, "AsDescriptor"), (PATCHED, "AsDescriptor")],
)
@under_every_mixin
@handlers
def test_requests_may_be_a_workers(alone, mode: str, mixin: str, handler: str, way: str) -> None:
    alone(mode, hand_over_all, mixin, handler, way)


class Hands(Echo):
    """Answers one line, and hands over what comes then, of which it has a part already."""

    def handle_one_request(self) -> None:
        if self.rfile.readline() == b"over\n":
            self.server.way.give(self.request)
            self.close_connection = True
        else:
            self.wfile.write(b"%d\n" % os.getpid())


def hand_over_amid(mixin: str) -> None:
    way = Pickled()
    worker = start_worker(way)
    server = make_server(mixin, Hands, shutdown_request=lambda self, each: self.close_request(each))
    server.way = way
    with running(server) as address, connect(address) as client:
        assert int(ask(client, b"?\n")) != worker.pid
        # The turn has received both lines.
        assert int(ask(client, b"over\n?\n")) == worker.pid
    worker.terminate()
    worker.join()
    way.close()


@pytest.mark.parametrize("mixin", [each for each in MIXINS if each != FORKING])
def test_what_was_received_already_is_handed_over_too(alone, mixin: str) -> None:
    alone(UNPATCHED, hand_over_amid, mixin)


def look_at_request(mixin: str, handler: str, look: Callable[[Any], None]) -> None:
    looked_at: list[Any] = []
    failures: list[BaseException] = []

    def process_request(self: Any, request: Any, client_address: Any) -> None:
        try:
            look(request)
        except BaseException as failure:  # noqa: BLE001
            failures.append(failure)
        looked_at.append(client_address)
        base.process_request(self, request, client_address)

    base: Any = server_class(mixin)
    server = make_server(mixin, HANDLERS[handler], process_request=process_request)
    with running(server) as address, connect(address) as client:
        # Not before it was looked at: what is there already is read also where nothing may block.
        eventually(lambda: looked_at)
        assert ask(client, b"x\n") == b"x\n"
    assert not failures, failures[0]


def duplicate(request: Any) -> None:
    with request.dup() as copy:
        assert copy.fileno() != request.fileno()
        assert copy.getpeername() == request.getpeername()
    with socket.fromfd(request.fileno(), request.family, request.type) as copy:
        assert copy.getpeername() == request.getpeername()
    # Where gevent has patched, that copy has made the connection non-blocking for all who share it.
    os.set_blocking(request.fileno(), True)


def refuse(request: Any) -> None:
    """Nobody but multiprocessing can hand a socket over."""
    known: Any = sys.modules.pop("multiprocessing.reduction")
    try:
        with pytest.raises(TypeError, match="cannot pickle"):
            pickle.dumps(request)
    finally:
        sys.modules["multiprocessing.reduction"] = known


def look_at_all(mixin: str, handler: str) -> None:
    for each in (duplicate, refuse):
        look_at_request(mixin, handler, each)


@pytest.mark.parametrize("mode", [UNPATCHED, PATCHED, NATIVE_THREADS])
@under_every_mixin
@handlers
def test_request_may_be_duplicated(alone, mode: str, mixin: str, handler: str) -> None:
    alone(mode, look_at_all, mixin, handler)
