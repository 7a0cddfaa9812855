"""`greensock torture`, as a program."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from greensock.torture.cases import CASES
from greensock.torture.server_process import ServerProcess

from ..separate_process import REPOSITORY, STUCK

TORTURE = (sys.executable, "-m", "greensock", "torture")
ANY = "tcp://127.0.0.1:0"


def planted(fault: str) -> str:
    return f"{sys.executable} -m tests.torture.planted_servers {fault}"


def torture(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*TORTURE, *arguments], capture_output=True, text=True, cwd=REPOSITORY, check=False
    )


QUICK = ("--quick", "--clients", "5", "--hold", "0.05")


def test_all_passed_is_status_0_and_written_as_json(tmp_path: Path) -> None:
    file = tmp_path / "found.json"
    done = torture(
        ANY, *QUICK, "--only", "half-line,tls*", "--command", planted("sound"), "--json", str(file)
    )
    assert done.returncode == 0, done.stderr
    assert "half-line       pass" in done.stdout
    assert done.stdout.endswith("1 passed, 0 failed, 3 not applicable\n")
    document = json.loads(file.read_text())
    assert not document["interrupted"]
    assert document["settings"]["clients"] == 5
    found = {finding["case"]: finding for finding in document["findings"]}
    assert found["half-line"]["verdict"] == "pass"
    assert {"others", "holdings", "cpu"} == set(found["half-line"]["judged"])
    assert found["tls-silent"]["verdict"] == "n/a"


def test_one_failed_is_status_1() -> None:
    done = torture(ANY, *QUICK, "--only", "silent", "--command", planted("spins"))
    assert done.returncode == 1
    assert "of a CPU" in done.stdout


def test_a_server_that_runs_already_is_tried_too() -> None:
    with ServerProcess(planted("sound"), ANY) as process:
        address = str(process.target)
        done = torture(address, *QUICK, "--only", "reset-at-accept", "--pid", str(process.pid))
        assert done.returncode == 0, done.stdout
        done = torture(
            address, *QUICK, "--only", "resets", "--send", r"a\x41\n", "--expect", r"aA\n"
        )
        assert done.stdout.endswith("3 passed, 0 failed, 0 not applicable\n")


def test_list_says_what_passing_means() -> None:
    done = torture("--list")
    assert done.returncode == 0
    assert all(f"{case.name} ({case.family})\n" in done.stdout for case in CASES)
    assert done.stdout.count("Passes if") == len(CASES)


def test_interrupted_it_tells_what_there_is(tmp_path: Path) -> None:
    file = tmp_path / "found.json"
    arguments = ("--only", "half-closed,flood", "--clients", "2", "--hold", "60")
    with subprocess.Popen(
        [*TORTURE, ANY, *arguments, "--command", planted("sound"), "--json", str(file)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
    ) as process:
        assert process.stderr is not None
        # Told of the first case, it is at the second, which lasts a minute.
        for line in process.stderr:
            if line.startswith("half-closed"):
                break
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=STUCK)
        assert process.returncode == 130
    assert "interrupted" in err
    assert "Traceback" not in err
    assert "1 passed, 0 failed" in out
    assert json.loads(file.read_text())["interrupted"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "ADDRESS is missing"),
        (["nowhere"], "address must be host:port"),
        (["192.0.2.1:7"], "192.0.2.1:7 is not on this machine; --remote"),
        (["127.0.0.1:1", "--only", "kindness"], "--only: a case must be one of silent, "),
        (["127.0.0.1:1", "--clients", "0"], "--clients must be more than 0, not 0"),
        (["127.0.0.1:1", "--hold", "nan"], "--hold must be more than 0, not nan"),
        (["127.0.0.1:1", "--hold", "inf"], "--hold must be more than 0, not inf"),
        ([ANY, "--command", ""], "--command must be what starts the server"),
        ([ANY, "--command", "x '"], "--command: No closing quotation"),
        (["127.0.0.1:1", "--expect", "x"], "--expect needs --send"),
        (["127.0.0.1:1", "--send", "x", "--expect", "("], "--send or --expect: "),
        (["127.0.0.1:1", "--http", "/", "--send", "x"], "--http goes without"),
        (["127.0.0.1:1", "--pid", "999999999"], "--pid: there is no process 999999999"),
        (["127.0.0.1:1", "--quick", "--patience", "0.1"], "does not answer a good client"),
        ([ANY, "--command", "no-such-program"], "no-such-program: No such file"),
        ([ANY, "--command", f"{sys.executable} -c pass"], "it ended at once"),
    ],
)
def test_mistake_gets_one_line_and_status_2(arguments: list[str], message: str) -> None:
    done = torture(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""
