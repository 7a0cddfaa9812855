"""The test modules of CPython that put socketserver to use, and how one of them is run."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from .known_differences import DIFFERENCES, LIBUV, MODES, PATCHED_LIBUV, Difference

RUNNER = Path(__file__).with_name("run_suite.py")


@dataclass(frozen=True)
class Suite:
    """A module of CPython's test package; `patterns` match the ids of what uses socketserver."""

    module: str
    patterns: tuple[str, ...] = ("*",)
    #: At least so many tests must have run, or the selection has missed what it is meant for.
    least: int = 1
    modes: tuple[str, ...] = tuple(MODES)


#: The modes but for libuv's: what depends on the loop is in test_socketserver.
ON_LIBEV = tuple(mode for mode in MODES if mode not in (LIBUV, PATCHED_LIBUV))

SUITES = (
    # Nine of its tests wait 3 s each for a request that never comes, which is 27 of the 28 seconds.
    # Waiting costs no processor, so it is first, and everything else runs beside it.
    Suite("test.test_xmlrpc", ("*Server*", "*Request*", "*CGI*"), least=40, modes=ON_LIBEV),
    Suite(
        "test.test_logging",
        (
            "*.SocketHandlerTest.*",
            "*.UnixSocketHandlerTest.*",
            "*.DatagramHandlerTest.*",
            "*.UnixDatagramHandlerTest.*",
            "*.SysLogHandlerTest.*",
            "*.UnixSysLogHandlerTest.*",
            "*.IPv6SysLogHandlerTest.*",
            "*.HTTPHandlerTest.*",
            "*.ConfigDictTest.*listen*",
            "*.ConfigFileTest.*listen*",
        ),
        least=12,
        modes=ON_LIBEV,
    ),
    # The other classes of the module take 45 s, four fifths of it for connections that time out.
    Suite("test.test_imaplib", ("*.ThreadedNetworkedTests*",), least=25, modes=ON_LIBEV),
    Suite("test.test_urllib2_localnet", least=15, modes=ON_LIBEV),
    Suite("test.test_ssl", ("*.test_socketserver",), modes=ON_LIBEV),
    Suite("test.test_httpservers", least=50, modes=ON_LIBEV),
    Suite("test.test_socketserver", least=25),
    Suite("test.test_docxmlrpc", least=5, modes=ON_LIBEV),
    Suite("test.test_wsgiref", least=30, modes=ON_LIBEV),
)


@dataclass
class Outcome:
    """What one run of a suite came to; an id with text in `failures` failed, hung or crashed."""

    passed: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)


def run_suite(suite: Suite, mode: str, directory: Path, server: str = "greensock") -> Outcome:
    """All of `suite` but the known differences of `mode`, which are run one by one."""
    skipped = [known.test for known in DIFFERENCES if mode in known.modes]
    return run(suite.module, suite.patterns, mode, directory, server, skipped, time_limit=120)


def run_difference(
    known: Difference, mode: str, directory: Path, server: str = "greensock"
) -> Outcome:
    """One known difference, by itself: one that hangs would take the rest of its module with it.

    It passes in well under a second where it passes at all.
    """
    module = ".".join(known.test.split(".")[:2])
    return run(module, (known.test,), mode, directory, server, [], time_limit=5)


def run(
    module: str,
    patterns: tuple[str, ...],
    mode: str,
    directory: Path,
    server: str,
    skipped: list[str],
    time_limit: float,
) -> Outcome:
    """Run tests of `module` in a process of its own, in `directory`, and read its report."""
    directory.mkdir(parents=True)
    report, output = directory / "report.jsonl", directory / "output"
    patch, loop = MODES[mode]
    command = [sys.executable, str(RUNNER), "--server", server, "--patch", patch]
    for test in skipped:
        command += ["--skip", test]
    command += ["--report", str(report), module, *patterns]
    environment = {**os.environ, "GEVENT_LOOP": loop, "TMPDIR": str(directory)}
    with output.open("wb") as stream:
        process = subprocess.Popen(
            command,
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            start_new_session=True,  # so that a hung test goes with its children
        )
        try:
            ending = f"ended with status {process.wait(time_limit)}"
        except subprocess.TimeoutExpired:
            ending = f"did not end within {time_limit} s"
        finally:
            kill_session(process)
    return read_report(report, f"{ending}\n{output.read_text(errors='replace')}")


def kill_session(process: "subprocess.Popen[bytes]") -> None:
    """End what is left of a run: its process if it hung, and children it has not waited for."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def read_report(report: Path, output: str) -> Outcome:
    outcome = Outcome()
    running, finished = "the start of the run", False
    lines = report.read_text(encoding="utf-8").splitlines() if report.exists() else []
    for event, test, text in map(json.loads, lines):
        if event == "start":
            running = test
        elif event == "passed":
            outcome.passed.append(test)
        elif event == "skipped":
            outcome.skipped.append(test)
        elif event == "failed":
            outcome.failures[test] = outcome.failures.get(test, "") + text
        else:
            finished = True
    if not finished:
        outcome.failures.setdefault(running, f"{running}: the process {output}")
    return outcome
