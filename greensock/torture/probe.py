"""The probe: a well-behaved client who asks all the time, and notes how long each answer took."""

from __future__ import annotations

import itertools
import math
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from greensock.torture.exchange import Exchange, Lost, WrongAnswer, ask, describe
from greensock.torture.settings import Settings
from greensock.torture.target import Target


@dataclass
class Heard:
    """What a probe was told: seconds for each answer, and a line for each that did not come."""

    seconds: list[float] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def __add__(self, other: Heard) -> Heard:
        return Heard(self.seconds + other.seconds, self.lost + other.lost, self.wrong + other.wrong)

    @property
    def p99(self) -> float:
        """Seconds within which 99 of 100 answers came; 0.0 if there was none."""
        if not self.seconds:
            return 0.0
        return sorted(self.seconds)[math.ceil(0.99 * len(self.seconds)) - 1]


class Asker(threading.Thread):
    """Asks at fixed times, whatever the last answer took: who waits for a slow one is late for the
    next, and that counts too.

    Args:
        is_fresh: every exchange on a new connection, which it takes part of the time for; else all
            on one, which is made anew only when it is lost.
    """

    def __init__(self, probe: Probe, interval: float, is_fresh: bool) -> None:
        super().__init__(name=f"probe {'fresh' if is_fresh else 'kept'}", daemon=True)
        self._probe = probe
        self._interval = interval
        self._is_fresh = is_fresh
        self._sock: Any = None
        self._is_resting = threading.Event()

    def run(self) -> None:
        probe = self._probe
        due = time.monotonic()
        try:
            while not probe.is_over.is_set():
                if probe.must_rest.is_set():
                    self._is_resting.set()
                    probe.may_go_on.wait()
                    self._is_resting.clear()
                    due = time.monotonic()
                self._exchange(due)
                due += self._interval
                probe.is_over.wait(due - time.monotonic())
        finally:
            self._is_resting.set()
            self._hang_up()

    def wait_until_resting(self, timeout: float) -> None:
        self._is_resting.wait(timeout)

    def _exchange(self, due: float) -> None:
        probe = self._probe
        heard = probe.heard
        try:
            if self._sock is None:
                self._sock = probe.target.connect(probe.patience)
            ask(self._sock, probe.exchange, probe.next_number(), probe.patience)
            heard.seconds.append(time.monotonic() - due)
        except WrongAnswer as error:
            heard.wrong.append(str(error))
            self._hang_up()
        except Lost as error:
            heard.lost.append(str(error))
            self._hang_up()
        except OSError as error:
            heard.lost.append(f"cannot connect: {describe(error)}")
        if self._is_fresh:
            self._hang_up()

    def _hang_up(self) -> None:
        sock, self._sock = self._sock, None
        if sock is not None:
            sock.close()


class Probe:
    """Two askers: one who keeps its connection, if the server does, and one always new.

    `with Probe(...) as probe:` asks for as long as the block runs.
    """

    def __init__(
        self, target: Target, exchange: Exchange, settings: Settings, keeps_connections: bool
    ) -> None:
        self.target = target
        self.exchange = exchange
        self.patience = target.patience_of_one(settings.patience)
        self.heard = Heard()
        self.is_over = threading.Event()
        self.must_rest = threading.Event()
        self.may_go_on = threading.Event()
        self._numbers = itertools.count(1)
        self._askers = [
            Asker(self, settings.probe_interval, not keeps_connections),
            Asker(self, settings.fresh_interval, True),
        ]

    def next_number(self) -> int:
        return next(self._numbers)

    def rest(self) -> None:
        """Ask nothing from here on, until `go_on`; returns once the last answer is in, or lost."""
        self.may_go_on.clear()
        self.must_rest.set()
        for asker in self._askers:
            asker.wait_until_resting(2 * self.patience)

    def go_on(self) -> None:
        self.must_rest.clear()
        self.may_go_on.set()

    def take(self) -> Heard:
        """What was heard since the last time, or the beginning."""
        heard, self.heard = self.heard, Heard()
        return heard

    def __enter__(self) -> Probe:
        for asker in self._askers:
            asker.start()
        return self

    def __exit__(self, *args: object) -> None:
        self.is_over.set()
        self.go_on()
        for asker in self._askers:
            asker.join()
