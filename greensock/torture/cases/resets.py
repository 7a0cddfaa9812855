"""Clients who break off: the server sees an error where it expects bytes, or a reader.

Each passes if the others are served beside them, no descriptor, thread or child of theirs stays
behind, and (with --command) the server's log has no traceback: that a client has left is no error
of the program.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from greensock.torture.bench import Bench
from greensock.torture.exchange import half_of, questions
from greensock.torture.settings import KIB
from greensock.torture.target import reset
from greensock.torture.verdicts import NotApplicable


def reset_at_accept(bench: Bench) -> None:
    """Clients connect and reset the connection at once.

    Passes if the others are served beside them, nothing of theirs stays behind, and no traceback.
    """
    _break_off(bench, lambda sock: None)


def reset_mid_request(bench: Bench) -> None:
    """Clients send half a request and reset the connection.

    Passes if the others are served beside them, nothing of theirs stays behind, and no traceback.
    """
    half = half_of(bench.exchange)
    _break_off(bench, lambda sock: sock.sendall(half))


def reset_mid_reply(bench: Bench) -> None:
    """Clients ask a lot, and reset the connection while they are answered.

    Passes if the others are served beside them, nothing of theirs stays behind, and no traceback.
    """
    many = questions(bench.exchange, 32 * KIB)

    def ask_and_listen_briefly(sock: Any) -> None:
        sock.sendall(many)
        sock.recv(1)

    _break_off(bench, ask_and_listen_briefly)


def _break_off(bench: Bench, before: Callable[[Any], None]) -> None:
    done = 0
    for _ in range(bench.settings.resets):
        try:
            sock = bench.target.connect_raw(bench.settings.patience, bench.source())
        except OSError:
            continue
        try:
            with contextlib.suppress(OSError):
                before(sock)
        finally:
            reset(sock)
        done += 1
    if not done:
        raise NotApplicable("no bad client could connect")
    bench.note(f"{done} connections reset")
