"""What a case works with: bad clients to make, a server to look at, a place for what it finds."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable
from typing import Any

from greensock.processes.seen import ServerView
from greensock.torture.exchange import Exchange, describe
from greensock.torture.probe import Heard, Probe
from greensock.torture.server_process import ServerProcess
from greensock.torture.settings import MIB, Settings
from greensock.torture.target import Target
from greensock.torture.verdicts import NotApplicable

#: Between two looks at the server's memory.
_LOOK_INTERVAL = 0.1


class Bench:
    """One case's.

    Attributes:
        view: the server's processes, or None where they cannot be looked at.
        process: the server that was started for this case, or None.
        faults: what failed, so far.
        notes: what was done and seen, so far.
    """

    def __init__(
        self,
        target: Target,
        exchange: Exchange,
        settings: Settings,
        view: ServerView | None,
        process: ServerProcess | None = None,
    ) -> None:
        self.target = target
        self.exchange = exchange
        self.settings = settings
        self.view = view
        self.process = process
        self.faults: list[str] = []
        self.notes: list[str] = []
        self.judged: list[str] = []
        self.figures: dict[str, float] = {}
        #: The bad clients' sockets, closed at the case's end.
        self.stack = contextlib.ExitStack()
        self._probe: Probe | None = None
        self._sources = itertools.cycle(target.sources)

    def fault(self, text: str) -> None:
        """Note a reason to fail."""
        self.faults.append(text)

    def note(self, text: str) -> None:
        """Note what was done or seen, for the one line about a case that passes."""
        self.notes.append(text)

    def source(self) -> str | None:
        """The next address for a bad client to come from."""
        return next(self._sources)

    def client(self, **options: int) -> Any:
        """A bad client's connection, which stays open until the case ends.

        Raises:
            OSError: the server did not take it in.
        """
        sock = self.target.connect(self.settings.patience, self.source(), **options)
        self.stack.callback(sock.close)
        return sock

    def clients(self, count: int, **options: int) -> list[Any]:
        """As many connections as the server allows, up to `count`; at least one.

        A server may refuse the rest: that is a bound, and no fault.

        Raises:
            NotApplicable: it took none.
        """
        socks: list[Any] = []
        complaint = ""
        while len(socks) < count and not complaint:
            try:
                socks.append(self.client(**options))
            except OSError as error:
                complaint = describe(error)
        if not socks:
            raise NotApplicable(f"no bad client could connect: {complaint}")
        if complaint:
            self.note(f"only {len(socks)} of {count} could connect ({complaint})")
        return socks

    def hold(self, seconds: float, tick: Callable[[], Any] | None = None) -> None:
        """Let time pass, and note the most memory that the server had meanwhile.

        Args:
            tick: called every 10 ms or so.
        """
        end = time.monotonic() + seconds
        next_look = 0.0
        while (now := time.monotonic()) < end:
            if tick is not None:
                tick()
            if now >= next_look:
                next_look = now + _LOOK_INTERVAL
                self.look_at_memory()
            time.sleep(min(0.01, max(end - now, 0)))

    def look_at_memory(self) -> None:
        """Note the server's memory, if it is the most so far."""
        if self.view is not None and "memory before" in self.figures:
            most = self.figures.get("most memory", 0)
            self.figures["most memory"] = max(most, self.view.memory())

    def judge_memory(self) -> None:
        """Judge how far the server's memory has grown since the case began."""
        if self.view is None or "most memory" not in self.figures:
            return
        self.judged.append("memory")
        growth = self.figures["most memory"] - self.figures["memory before"]
        if growth > self.settings.growth:
            self.fault(f"its memory grew by {growth / MIB:.0f} MiB")
        else:
            self.note(f"memory grew by {max(growth, 0) / MIB:.1f} MiB")

    def judge_spin(self, when: str) -> None:
        """Judge the CPU time that the server uses while nobody asks anything."""
        if self.view is None:
            return
        if self._probe is not None:
            self._probe.rest()
        deadline = time.monotonic() + self.settings.settle
        share = self.view.cpu_share(self.settings.quiet)
        while share > self.settings.spin and time.monotonic() < deadline:
            # It may have something to finish. A loop that spins never has.
            share = self.view.cpu_share(self.settings.quiet)
        if self._probe is not None:
            self._probe.go_on()
        if "cpu" not in self.judged:
            self.judged.append("cpu")
        self.figures[f"cpu {when}"] = round(share, 4)
        if share > self.settings.spin:
            self.fault(f"it uses {share:.0%} of a CPU {when}, asked nothing")

    def judge_log(self) -> None:
        """Judge whether the server wrote tracebacks, where its log can be read."""
        if self.process is None:
            return
        self.judged.append("log")
        tracebacks = self.process.errors().count("Traceback (most recent call last)")
        if tracebacks:
            self.fault(f"{tracebacks} tracebacks in its log")

    @contextlib.contextmanager
    def probing(self, keeps_connections: bool) -> Any:
        """Ask the server all the time while the block runs; yields the probe."""
        with Probe(self.target, self.exchange, self.settings, keeps_connections) as probe:
            self._probe = probe
            try:
                yield probe
            finally:
                self._probe = None

    def heard(self) -> Heard:
        """What the probe was told since the last time."""
        assert self._probe is not None
        return self._probe.take()

    def rest_probe(self) -> None:
        """Have the probe ask nothing, until `wake_probe`."""
        assert self._probe is not None
        self._probe.rest()

    def wake_probe(self) -> None:
        assert self._probe is not None
        self._probe.go_on()

    def close_clients(self) -> None:
        """Hang up for all bad clients."""
        self.stack.close()
