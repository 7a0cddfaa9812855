"""A server that is started and stopped here: `greensock torture --command`."""

from __future__ import annotations

import contextlib
import shlex
import time

from greensock.processes.started import ChildProcess
from greensock.torture.exchange import Exchange, Lost, ask
from greensock.torture.target import Target

_START_TIMEOUT = 20.0


class NotStarted(Exception):
    """The command did not become a server; the text says why."""


class ServerProcess(ChildProcess):
    """A server in a process of its own.

    Args:
        command: its command line; no shell is involved.
        address: where it will listen; with port 0, what follows `listening on ` in its output.
        open_files: the limit it starts with; None leaves it as it is.

    Raises:
        NotStarted: it ended, or nobody could connect in time.
    """

    grace = 0.0

    def __init__(self, command: str, address: str, open_files: int | None = None) -> None:
        super().__init__("server", shlex.split(command), open_files=open_files)
        try:
            self.target = self._find(address)
        except BaseException:
            self.stop()
            raise

    def _find(self, address: str) -> Target:
        deadline = time.monotonic() + _START_TIMEOUT
        while time.monotonic() < deadline:
            if self.poll() is not None:
                raise NotStarted(self.last_line() or "it ended at once")
            target = self._target(address)
            if target is not None and _listens(target):
                return target
            time.sleep(0.02)
        raise NotStarted(f"nobody listened on {address} within {_START_TIMEOUT:g} s")

    def _target(self, address: str) -> Target | None:
        if not address.endswith(":0"):
            return Target(address)
        announced = self.announced()
        if not announced:
            return None
        if address.startswith("tls://"):
            # A server may not say so.
            announced = announced.replace("tcp://", "tls://")
        return Target(announced)


def wait_until_answering(target: Target, exchange: Exchange, patience: float) -> str | None:
    """Ask until there is an answer; None, or what was wrong with the last try of all."""
    deadline = time.monotonic() + patience
    while True:
        left = target.patience_of_one(max(deadline - time.monotonic(), 0.05))
        try:
            with contextlib.closing(target.connect(left)) as sock:
                ask(sock, exchange, 0, left)
        except Lost as error:
            complaint = str(error)
        except OSError as error:
            complaint = f"cannot connect: {error}"
        else:
            return None
        if time.monotonic() >= deadline:
            return complaint
        time.sleep(0.01)


def _listens(target: Target) -> bool:
    if not target.is_stream:
        return True
    try:
        target.connect_raw(1.0).close()
    except OSError:
        return False
    return True
