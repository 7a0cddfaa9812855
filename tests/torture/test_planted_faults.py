"""Every fault that is planted in a server is found by the case it was planted for."""

import dataclasses
import re
import sys

import pytest

from greensock.torture.cases import BY_NAME
from greensock.torture.exchange import LineEcho
from greensock.torture.server_process import ServerProcess
from greensock.torture.settings import MIB, QUICK
from greensock.torture.suite import Torture
from greensock.torture.verdicts import Finding, Verdict

COMMAND = f"{sys.executable} -m tests.torture.planted_servers"
TCP, UDP = "tcp://127.0.0.1:0", "udp://127.0.0.1:0"

#: Small; and of the bounds on time, only those that a planted fault never keeps.
SETTINGS = dataclasses.replace(
    QUICK, clients=20, hold=0.1, quiet=0.1, afterwards=0.05, patience=0.5, p99=60.0, settle=0.5,
    stop=0.5, endless_line=40 * MIB,
)  # fmt: skip


def findings(fault: str, *cases: str, quiet: float = SETTINGS.quiet) -> dict[str, Finding]:
    address = UDP if fault == "dies-of-empty" else TCP
    settings = dataclasses.replace(SETTINGS, quiet=quiet)
    torture = Torture(address, LineEcho(), settings, command=f"{COMMAND} {fault}")
    run = torture.run([BY_NAME[name] for name in cases])
    return {finding.case: finding for finding in run}


@pytest.mark.parametrize(
    ("fault", "case", "why"),
    [
        ("leaks", "reset-mid-reply", r"\d\d descriptors more than before"),
        ("hoards", "endless-line", r"its memory grew by \d\d+ MiB"),
        ("complains", "reset-mid-reply", r"\d+ tracebacks in its log"),
        ("mixes-up", "half-line", r"\d+ wrong answers to others"),
        ("hangs", "half-line", r"beside them, a new client is not served: no answer within 0\.5 s"),
        ("deaf", "close-during-shutdown", r"it did not end within 0\.5 s of SIGTERM"),
        ("sound", "half-open", r"20 of 20 connections have no keep-alive timer"),
        ("dies-of-empty", "truncated-datagrams", r"it has died"),
    ],
)
def test_planted_fault_is_found(fault: str, case: str, why: str) -> None:
    (finding,) = findings(fault, case).values()
    assert finding.verdict is Verdict.FAIL, finding
    assert any(re.search(why, text) for text in finding.faults), finding


# On a machine with more to do than processors, whoever spins may have none for a tenth of a second.
LONG_ENOUGH = 1.0


def test_a_loop_that_spins_is_found() -> None:
    (finding,) = findings("spins", "silent", quiet=LONG_ENOUGH).values()
    assert finding.verdict is Verdict.FAIL, finding
    assert any(" of a CPU beside silent clients" in text for text in finding.faults), finding


def test_what_has_no_fault_passes() -> None:
    found = findings("sound", "half-line", "reset-mid-request", "endless-line", "half-closed")
    assert {finding.verdict for finding in found.values()} == {Verdict.PASS}, found


def test_out_of_files_is_found_in_the_standard_librarys_accept_loop() -> None:
    """It tries to accept 300,000 times a second."""
    (finding,) = findings("sound", "out-of-files", quiet=LONG_ENOUGH).values()
    assert finding.verdict is Verdict.FAIL, finding
    assert any("of a CPU out of files" in text for text in finding.faults), finding


def test_a_server_that_died_is_not_judged_further() -> None:
    """With --pid there is nobody to start it again."""
    with ServerProcess(f"{COMMAND} dies", TCP) as process:
        victim = Torture(str(process.target), LineEcho(), SETTINGS, pid=process.pid)
        cases = [BY_NAME["reset-mid-request"], BY_NAME["silent"]]
        first, second = victim.run(cases)
    assert first.verdict is Verdict.FAIL
    assert any(text.startswith("once they are gone, it does not answer") for text in first.faults)
    assert second.verdict is Verdict.NOT_APPLICABLE
    assert "after the cases before: " in second.why
