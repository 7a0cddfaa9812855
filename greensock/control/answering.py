"""The server's side of a control socket: itself a greensock server, on the same hub."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import gevent

from greensock.control import place
from greensock.control.rows import Row, rows_of
from greensock.handlers.classes import KeepAliveRequestHandler, name_of
from greensock.mixins.combinations import GreenletUnixStreamServer

# Seconds for which clients are listed in a row before everybody else has a turn, and how many at
# most: a parked one takes 5 us, one whose handler's frames are looked through 50 us.
_AT_ONCE = 0.002
_MOST_AT_ONCE = 200
# Seconds that whoever asks may take to read the answer.
_PATIENCE = 5.0

_PEER_CREDENTIALS = struct.Struct("3i")


class _Question(KeepAliveRequestHandler):
    """A line, `stats` or `clients`, answered with lines of JSON.

    The first tells of the server; for `clients` lists of rows follow, and an empty list.
    """

    timeout = _PATIENCE

    def handle_one_request(self) -> None:
        question = self.rfile.readline(100).strip()
        watched = self.server.watched
        if question not in (b"stats", b"clients"):
            self._answer({"error": "ask for stats or clients"})
            self.close_connection = True
            return
        self._answer(describe(watched))
        if question == b"clients":
            rows = rows_of(watched)
            while some := _some_of(rows):
                self._answer(some)
                # Longer than 0: gevent looks at descriptors only after fifty of its callbacks.
                gevent.sleep(0.0001)
            self._answer([])

    def _answer(self, answer: Any) -> None:
        self.wfile.write(json.dumps(answer).encode() + b"\n")


def _some_of(rows: Iterator[Row]) -> list[Row]:
    some: list[Row] = []
    end = monotonic() + _AT_ONCE
    for row in rows:
        some.append(row)
        if len(some) == _MOST_AT_ONCE or monotonic() > end:
            break
    return some


def describe(server: Any) -> dict[str, Any]:
    """What is told of a server before its clients: its class, address and stats."""
    return {
        "pid": os.getpid(),
        "class": type(server).__name__,
        "handler": name_of(server.RequestHandlerClass),
        "address": _as_told(server.server_address),
        "stats": server.stats()._asdict(),
    }


def _as_told(address: Any) -> Any:
    """An address as JSON can have it: an abstract socket's name is bytes."""
    return os.fsdecode(address) if isinstance(address, bytes) else address


class _ControlServer(GreenletUnixStreamServer):
    """Answers those of the same user, and root."""

    block_on_close = False
    max_connections = 20

    def __init__(self, path: str, watched: Any) -> None:
        self.watched = watched
        super().__init__(path, _Question)

    def verify_request(self, request: Any, client_address: Any) -> bool:
        # The folder keeps others out; should it be opened by mistake, this does.
        raw = request.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER_CREDENTIALS.size)
        return _PEER_CREDENTIALS.unpack(raw)[1] in (0, os.geteuid())


@contextlib.contextmanager
def control_socket(server: Any) -> Iterator[Path]:
    """Answer `greensock top` about `server` for as long as the block runs; yields the path.

    To be used in the thread that calls `server.serve_forever()`, around that call. The socket's
    file is named after the process, and of further servers of one process numbered; it is removed
    at the end.

    Raises:
        NoControl: there is no private folder for it.
        OSError: the socket cannot be made.
    """
    path = _free_path()
    try:
        control = _ControlServer(str(path), server)
    except OSError:
        _paths.discard(path)
        raise
    greenlet = gevent.spawn(control.serve_forever)
    try:
        yield path
    finally:
        control.shutdown()
        greenlet.join()
        control.server_close()
        path.unlink(missing_ok=True)
        _paths.discard(path)


#: Those of this process's servers.
_paths: set[Path] = set()


def _free_path() -> Path:
    folder = place.make_folder()
    number = os.getpid()
    names = (f"{number}.sock", *(f"{number}-{other}.sock" for other in range(2, 1000)))
    path = next(path for name in names if (path := folder / name) not in _paths)
    _paths.add(path)
    # Left behind by an ended process with this number.
    path.unlink(missing_ok=True)
    return path
