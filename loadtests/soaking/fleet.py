"""The servers of one mixin, and what they hold."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from greensock.net import addresses
from greensock.processes.seen import ServerView
from greensock.processes.started import TalkingProcess, announced_in

_CHECKOUT = Path(__file__).resolve().parents[2]
_START_TIMEOUT = 30.0
_GRACE = 10.0


@dataclass(frozen=True, slots=True)
class Holding:
    """What one server holds while nobody is its client."""

    memory: int
    descriptors: int
    threads: int
    children: int
    greenlets: int
    open_clients: int
    #: What the server has counted since it was made.
    counted: dict[str, int] = field(default_factory=dict)


class Fleet:
    """One server of each of these kinds under one mixin, each in a process of its own.

    Args:
        certificate: PEM file for the TLS server, if there is one among them.

    Raises:
        RuntimeError: one of them did not start.
    """

    def __init__(self, mixin: str, kinds: Sequence[str], certificate: Path | None = None) -> None:
        self.mixin = mixin
        self._certificate = certificate
        self.addresses: dict[str, Any] = {}
        self.views: dict[str, ServerView] = {}
        self._processes: dict[str, TalkingProcess] = {}
        try:
            for kind in kinds:
                self._start(kind)
        except BaseException:
            self.stop()
            raise

    def _start(self, kind: str) -> None:
        command = [sys.executable, "-m", "loadtests.soaking.served", kind, self.mixin]
        if kind == "tls":
            command.append(str(self._certificate))
        process = TalkingProcess(kind, command, working_directory=_CHECKOUT)
        self._processes[kind] = process
        try:
            address = announced_in(process.read_line(_START_TIMEOUT))
        except (TimeoutError, EOFError):
            address = ""
        if not address:
            raise RuntimeError(f"the {kind} server did not start under {self.mixin}")
        self.addresses[kind] = addresses.parse(address).sockaddr
        self.views[kind] = ServerView(process.pid)

    def errors(self) -> list[str]:
        """Servers that have ended by themselves."""
        return [
            f"the {kind} server under {self.mixin} has died"
            for kind, process in self._processes.items()
            if process.poll() is not None
        ]

    def holdings(
        self, opened: Mapping[str, int] | None = None, settle: float = 20.0
    ) -> dict[str, Holding]:
        """What each server holds, once nobody is its client any more, or `settle` seconds later.

        Args:
            opened: how many connections each has to have accepted before; those who have left may
                still be in the kernel's queue.
        """
        deadline = time.monotonic() + settle
        found: dict[str, Holding] = {}
        for kind in self.views:
            found[kind] = self._holding(kind)
            wanted = (opened or {}).get(kind, 0)
            while time.monotonic() < deadline and (
                _is_busy(found[kind]) or found[kind].counted.get("accepted", 0) < wanted
            ):
                time.sleep(0.1)
                found[kind] = self._holding(kind)
        return found

    def _holding(self, kind: str) -> Holding:
        view = self.views[kind]
        if self._processes[kind].poll() is not None:
            return Holding(0, 0, 0, 0, 0, 0)
        os.kill(view.pid, signal.SIGUSR2)
        told: dict[str, int] = {}
        with contextlib.suppress(TimeoutError, EOFError):
            told = json.loads(self._processes[kind].read_line(10.0))
        holds = view.holdings()
        return Holding(
            memory=view.memory(),
            descriptors=holds.descriptors,
            threads=holds.threads,
            children=holds.children,
            greenlets=told.get("greenlets", -1),
            open_clients=told.get("open", -1),
            counted=told,
        )

    def stop(self) -> list[str]:
        """End the servers; what each wrote to standard error, a line for each that wrote."""
        written = []
        for kind, process in self._processes.items():
            process.end(_GRACE)
            if "Traceback" in process.errors():
                last = process.last_line()
                written.append(f"{kind} under {self.mixin}: a traceback, last: {last}")
            process.stop()
        return written


def _is_busy(holding: Holding) -> bool:
    return holding.open_clients > 0 or holding.children > 0
