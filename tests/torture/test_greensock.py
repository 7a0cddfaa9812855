"""greensock passes every case, under every mixin: the acceptance test, with few clients each."""

import dataclasses
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from greensock.torture.case import Case
from greensock.torture.cases import CASES
from greensock.torture.exchange import LineEcho
from greensock.torture.server_process import ServerProcess
from greensock.torture.settings import QUICK
from greensock.torture.suite import Torture
from greensock.torture.verdicts import Finding, Verdict

from ..separate_process import STUCK
from ..server_kinds import MIXINS, NONE
from ..tls.certificates import authority, write_pem

#: Nothing here is a bound on speed: whatever takes longer than these is stuck.
SETTINGS = dataclasses.replace(
    QUICK, clients=20, hold=0.05, quiet=0.05, afterwards=0.05,
    patience=STUCK, p99=STUCK, settle=STUCK, recovery=STUCK, stop=STUCK,
)  # fmt: skip

#: Cases in which the bad clients keep a turn busy. Without a mixin turns run one at a time, as
#: socketserver documents it: there a client who does not take its answer keeps all others waiting.
KEEP_A_TURN = {"never-reads"}

#: Those that need a server of their own: judged by its end, its log, its limits.
OF_THEIR_OWN = {"out-of-files", "close-during-shutdown", "reset-mid-reply"}

STREAM_CASES = [case for case in CASES if not case.datagrams and not case.tls]
DATAGRAM_CASES = [case for case in CASES if case.datagrams]


HERE = "tests.torture.served_here"


def command(mixin: str, scheme: str = "tcp", target: str | None = None) -> str:
    target = target or (f"{HERE}:EchoDatagram" if scheme == "udp" else "greensock.examples:Echo")
    return (
        f"{sys.executable} -m greensock serve {target} --mixin {mixin} "
        f"--bind {scheme}://127.0.0.1:0"
    )


def run(torture: Torture, cases: list[Case]) -> list[Finding]:
    return list(torture.run(cases))


def failed(findings: list[Finding]) -> list[str]:
    return [f"{each.case}: {each.why}" for each in findings if each.verdict is not Verdict.PASS]


@pytest.fixture(scope="module", params=MIXINS)
def server(request: pytest.FixtureRequest) -> Iterator[tuple[str, ServerProcess]]:
    """A mixin, and a server with it that all cases share which leave it alive."""
    with ServerProcess(command(request.param), "tcp://127.0.0.1:0") as process:
        yield request.param, process


@pytest.mark.parametrize("case", STREAM_CASES, ids=lambda case: case.name)
def test_stream_case_passes(server: tuple[str, ServerProcess], case: Case) -> None:
    mixin, process = server
    if mixin == NONE and case.name in KEEP_A_TURN:
        pytest.skip("without a mixin, a client who does not read keeps the others waiting")
    if case.name in OF_THEIR_OWN:
        torture = Torture("tcp://127.0.0.1:0", LineEcho(), SETTINGS, command=command(mixin))
    else:
        torture = Torture(str(process.target), LineEcho(), SETTINGS, pid=process.pid)
    assert not failed(run(torture, [case]))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pem(authority().issue_cert("127.0.0.1"), tmp_path_factory.mktemp("tls"))


@pytest.mark.parametrize("mixin", MIXINS)
def test_tls_cases_pass(certificate: Path, mixin: str) -> None:
    cases = [case for case in CASES if case.tls]
    serve = f"{command(mixin)} --tls-cert {certificate}"
    with ServerProcess(serve, "tls://127.0.0.1:0") as process:
        torture = Torture(str(process.target), LineEcho(), SETTINGS, pid=process.pid)
        assert not failed(run(torture, cases))


@pytest.mark.parametrize("mixin", MIXINS)
def test_datagram_cases_pass(mixin: str) -> None:
    with ServerProcess(command(mixin, "udp"), "udp://127.0.0.1:0") as process:
        torture = Torture(str(process.target), LineEcho(), SETTINGS, pid=process.pid)
        assert not failed(run(torture, DATAGRAM_CASES))


def test_without_a_mixin_who_keeps_a_turn_keeps_the_server() -> None:
    """What the documentation says: found, and over once the client has gone."""
    settings = dataclasses.replace(SETTINGS, clients=2, patience=0.3)
    serve = command(NONE, target=f"{HERE}:EchoWithoutTerminator")
    torture = Torture("tcp://127.0.0.1:0", LineEcho(), settings, command=serve)
    (finding,) = run(torture, [case for case in CASES if case.name == "half-line"])
    assert finding.verdict is Verdict.FAIL
    assert not [text for text in finding.faults if re.search("afterwards|once they", text)]


def test_every_case_is_tried_here() -> None:
    assert {*STREAM_CASES, *DATAGRAM_CASES, *(case for case in CASES if case.tls)} == set(CASES)
