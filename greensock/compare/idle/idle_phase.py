"""The idle clients of one trial: opened and proved, what they cost, and whether they last."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import partial

from greensock.compare.idle.idle_holder import IdleHolder, Opened
from greensock.compare.planning.contenders import Contender
from greensock.compare.planning.plan import Plan
from greensock.compare.under_test.sampling import Sample, Sampler
from greensock.compare.under_test.server_process import ServerProcess
from greensock.processes.connections import unaccepted
from greensock.processes.seen import children_of
from greensock.processes.started import wait_until

PATIENCE = 3.0  # seconds without any idle client getting on, after which the rest is given up
SETTLE = 0.5  # seconds before memory is read: allocators and reapers finish first
IDLE_WATCH = 1.0  # seconds over which the CPU of a server with idle clients only is taken
PINGED = 50  # of the held clients are asked once more at the end
ENDING = 10.0  # seconds at most until the children of clients that were let go have ended
FEW = 10  # below so many held clients, bytes per client would be noise


@dataclass
class Idle:
    """What became of the idle clients of one trial. Bytes per client, CPU in percent of a core.

    `proof` says by what a client counts as held: "exchange", or "accept queue" when the server
    has merely taken it from there. `greenlets` is what the server had while it held them.
    """

    asked: int = 0
    held: int = 0
    proof: str = "exchange"
    unanswered: int = 0
    unaccepted: int | None = None
    errors: dict[str, int] = field(default_factory=dict)
    open_seconds: float = 0.0
    bytes_per_client: float | None = None
    kernel_bytes_per_client: float | None = None
    cpu_percent: float | None = None
    greenlets: int | None = None
    let_go: bool = False
    lost: int = 0
    pinged: int = 0
    ping_answers: int = 0


class IdlePhase:
    """Holds the plan's idle clients of one server from `hold` to `check`."""

    def __init__(
        self, plan: Plan, contender: Contender, server: ServerProcess, holder: IdleHolder
    ) -> None:
        self.plan = plan
        self.contender = contender
        self.server = server
        self.holder = holder
        self.idle = Idle()
        self.notes: list[str] = []

    def hold(self) -> None:
        """Open them, and count those that are proved served."""
        idle = self.idle
        if self.holder.payload is None:
            idle.proof = "accept queue"
        opened = self.holder.open(self.plan.idle, patience=PATIENCE)
        self.server.check_alive("while idle clients came")
        if self.holder.payload is None:
            self._wait_until_accepted(opened)
        idle.asked, idle.held, idle.unanswered = opened.asked, opened.held, opened.unanswered
        idle.errors, idle.open_seconds = opened.errors, opened.seconds
        idle.unaccepted = unaccepted(self.server.address)

    def _wait_until_accepted(self, opened: Opened) -> None:
        """Without an exchange only those count that the server has taken and not closed."""
        left = 0
        while (waiting := unaccepted(self.server.address) or 0) != left:
            left = waiting
            wait_until(partial(self._accepted_some, left), PATIENCE)
        if closed := self.holder.lost():
            opened.errors["closed by the server at once"] = closed
        opened.unanswered += left
        opened.held -= closed + left

    def _accepted_some(self, before: int) -> bool:
        return (unaccepted(self.server.address) or 0) < before

    def read_cost(self, sampler: Sampler, base: Sample) -> Sample:
        """What the held ones cost in memory, and in CPU while nobody else is there."""
        idle = self.idle
        reading = sampler.read(with_memory=True)
        before, now = base.pss_anonymous, reading.pss_anonymous
        if idle.held >= FEW and now and before is not None:
            idle.bytes_per_client = (now - before) / idle.held
            kernel = (reading.kernel or 0) - (base.kernel or 0)
            idle.kernel_bytes_per_client = kernel / idle.held
        time.sleep(IDLE_WATCH)
        later = sampler.read(with_memory=False)
        idle.cpu_percent = 100 * (later.cpu - reading.cpu) / (later.t - reading.t)
        idle.greenlets = self.server.count_greenlets()
        return reading

    def make_room(self) -> None:
        """Let all of them go if the contender is full with them, or not even those were served.

        Under load every other client would wait for ever, and show nothing.
        """
        idle = self.idle
        if idle.held == idle.asked:
            return
        reasons = "".join(f"; {count:,} x {text}" for text, count in idle.errors.items())
        explained = sum(idle.errors.values()) >= idle.asked - idle.held
        bound = "" if explained else f": {self.contender.bound}"
        said = f"served {idle.held:,} of {idle.asked:,} idle clients{bound}{reasons}"
        if self.holder.payload is None:
            idle.let_go = bool(idle.unaccepted)
            if idle.let_go:
                self.holder.let_go()
                said += "; the others waited to be accepted, so the load ran without idle clients"
        elif not self.holder.answers(1, patience=1.0).held:
            idle.let_go = True
            self.holder.let_go()
            if self.holder.answers(1, patience=PATIENCE).held:
                said += "; it then answered nobody else, so the load ran without idle clients"
            else:
                said += "; it then answered nobody, even with all of them gone"
        if idle.let_go:
            # A thousand children take seconds to end, which are not the load's.
            wait_until(lambda: len(children_of(self.server.pid)) < FEW, ENDING, interval=0.1)
        self.notes.append(said)

    def check(self) -> None:
        """Are the held clients still connected, and are they still served?"""
        if not self.idle.held or self.idle.let_go:
            return
        self.idle.lost = self.holder.lost()
        if self.holder.payload is not None:
            self.idle.pinged, self.idle.ping_answers = self.holder.ping(PINGED, patience=2.0)
