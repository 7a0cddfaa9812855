"""Running the cases, one after the other, and judging what is the same for all."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from greensock.processes.seen import Holdings, ServerView
from greensock.torture.bench import Bench
from greensock.torture.case import Case
from greensock.torture.exchange import Exchange, Lost, ask, describe
from greensock.torture.probe import Heard
from greensock.torture.server_process import (
    NotStarted,
    ServerProcess,
    wait_until_answering,
)
from greensock.torture.settings import Settings
from greensock.torture.target import Target
from greensock.torture.verdicts import Finding, NotApplicable, Verdict


class NotAnswering(Exception):
    """The server did not answer even before anything was done to it; the text says how."""


@dataclass(frozen=True, slots=True)
class Torture:
    """The server to try the cases on.

    Args:
        address: as `Target` takes it; with `command`, port 0 stands for what the server announces.
        exchange: a good one.
        pid: the server's first process, if it can be looked at; None if not.
        command: starts the server, anew for each case, if it is to be started; else None.
    """

    address: str
    exchange: Exchange
    settings: Settings
    pid: int | None = None
    command: str | None = None

    def run(self, cases: Sequence[Case]) -> Iterator[Finding]:
        """Try the cases; yields each finding as soon as it is there.

        Raises:
            NotAnswering: the server does not work as the exchange says, before the first case.
            NotStarted: the command starts no server.
        """
        is_first = True
        for case in cases:
            finding = Finding(case.name, case.does)
            try:
                self._try(case, finding)
            except NotApplicable as reason:
                finding.verdict, finding.why = Verdict.NOT_APPLICABLE, str(reason)
            except (NotAnswering, NotStarted) as reason:
                if is_first:
                    raise
                finding.verdict = Verdict.NOT_APPLICABLE
                finding.why = f"after the cases before: {reason}"
            is_first = is_first and finding.verdict is Verdict.NOT_APPLICABLE
            yield finding

    def _try(self, case: Case, finding: Finding) -> None:
        if self.command is None:
            target = Target(self.address)
            self._check(case, target)
            view = None if self.pid is None else ServerView(self.pid)
            self._torment(case, finding, Bench(target, self.exchange, self.settings, view))
            return
        self._check(case, Target(self.address))
        files = self.settings.few_files if case.few_files else None
        with ServerProcess(self.command, self.address, files) as process:
            view = ServerView(process.pid)
            bench = Bench(process.target, self.exchange, self.settings, view, process)
            self._torment(case, finding, bench)

    def _check(self, case: Case, target: Target) -> None:
        if misfit := case.misfit(target, self.command is not None):
            raise NotApplicable(misfit)

    def _torment(self, case: Case, finding: Finding, bench: Bench) -> None:
        keeps = self._greet(bench)
        before = _holdings(bench)
        if bench.view is not None:
            bench.figures["memory before"] = bench.view.memory()
        try:
            if case.ends_server:
                case.torment(bench)
            else:
                heard = self._probe_beside(case, bench, keeps)
                _judge_others(case, bench, heard)
                _judge_rest(case, bench, before)
        except (OSError, Lost) as error:
            # A case takes what servers usually do; what this one did, no good client will like.
            bench.fault(f"the bad clients failed: {_text(error)}")
        finally:
            bench.close_clients()
        finding.faults = bench.faults
        finding.judged = bench.judged
        finding.figures = bench.figures
        finding.verdict = Verdict.FAIL if bench.faults else Verdict.PASS
        finding.why = "; ".join(bench.faults or bench.notes)

    def _greet(self, bench: Bench) -> bool:
        """Ask twice on one connection; whether the server kept it for the second time.

        Raises:
            NotAnswering: not even the first time.
        """
        complaint = wait_until_answering(bench.target, bench.exchange, self.settings.patience)
        if complaint is not None:
            raise NotAnswering(f"{bench.target} does not answer a good client: {complaint}")
        try:
            with contextlib.closing(bench.target.connect(self.settings.patience)) as sock:
                for number in (1, 2):
                    ask(sock, bench.exchange, number, self.settings.patience)
        except (Lost, OSError):
            return False
        return True

    def _probe_beside(self, case: Case, bench: Bench, keeps: bool) -> Heard:
        with bench.probing(keeps):
            case.torment(bench)
            if case.judges_beside and not case.few_files:
                complaint = wait_until_answering(
                    bench.target, bench.exchange, self.settings.patience
                )
                if complaint is not None:
                    bench.fault(f"beside them, a new client is not served: {complaint}")
            beside = bench.heard()
            bench.figures["p99 beside"] = round(beside.p99, 4)
            bench.figures["lost beside"] = len(beside.lost)
            bench.close_clients()
            time.sleep(self.settings.afterwards)
            # Whoever waits for an answer at this moment is heard as well.
            bench.rest_probe()
            return beside + bench.heard()


def _judge_others(case: Case, bench: Bench, heard: Heard) -> None:
    bench.judged.insert(0, "others")
    bench.figures["p99"] = round(heard.p99, 4)
    bench.figures["exchanges"] = len(heard.seconds)
    bench.figures["lost"] = len(heard.lost)
    bench.figures["wrong"] = len(heard.wrong)
    if heard.wrong:
        bench.fault(f"{len(heard.wrong)} wrong answers to others, such as: {heard.wrong[0]}")
    if heard.lost and case.judges_beside:
        asked = len(heard.seconds) + len(heard.lost)
        bench.fault(f"{len(heard.lost)} of {asked} exchanges of others lost ({heard.lost[0]})")
    if case.judges_p99 and case.judges_beside and heard.p99 > bench.settings.p99:
        bench.fault(f"p99 of the others was {heard.p99 * 1000:.0f} ms")


def _judge_rest(case: Case, bench: Bench, before: Holdings | None) -> None:
    """Judge what must be so once the bad clients have gone."""
    complaint = wait_until_answering(bench.target, bench.exchange, bench.settings.patience)
    if complaint is not None:
        bench.fault(f"once they are gone, it does not answer: {complaint}")
    if bench.view is None or before is None:
        return
    if not bench.view.is_alive():
        bench.fault("it has died")
        return
    bench.judged.append("holdings")
    left = _left_behind(bench, before)
    if left:
        bench.fault(f"{bench.settings.settle:g} s after: {', '.join(left)}")
    bench.judge_spin("afterwards")
    if case.judges_log:
        bench.judge_log()


def _left_behind(bench: Bench, before: Holdings) -> list[str]:
    assert bench.view is not None
    deadline = time.monotonic() + bench.settings.settle
    while True:
        left = bench.view.holdings().more_than(before, bench.settings.slack)
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.02)


def _holdings(bench: Bench) -> Holdings | None:
    return None if bench.view is None else bench.view.holdings()


def _text(error: Exception) -> str:
    return describe(error) if isinstance(error, OSError) else str(error)
