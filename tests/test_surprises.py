"""What a test says without having announced it makes it fail, in whatever process it was said."""

import subprocess
import sys
from xml.etree import ElementTree

import pytest

from .separate_process import REPOSITORY

TESTS = """
import logging, os, subprocess, sys
import pytest
import gevent
from greensock.testing import running
from tests.clients import connect, receive_all
from tests.separate_process import PATCHED
from tests.server_kinds import ClassicEcho, make_server

pytest_plugins = ["tests.alone"]


class Failing(ClassicEcho):
    def handle(self):
        raise LookupError("a handler's")


def serve(mixin):
    with running(make_server(mixin, Failing)) as address, connect(address) as client:
        assert receive_all(client) == b""


def warn():
    logging.getLogger("somebody.elses").warning("disk almost full")


def leave_in_cycle():
    kept = [open(os.devnull)]
    kept.append(kept)


def keep_descriptor():
    kept.append(os.open(os.devnull, os.O_RDONLY))


kept = []


def leave_child():
    kept.append(subprocess.Popen(["sleep", "60"]))


def say_nothing():
    logging.getLogger("somebody.elses").info("all is well")
"""

FAIL = {
    "a record of any logger's": ("warn()", "somebody.elses WARNING: disk almost full"),
    "a child's record": (
        "pid = os.fork() or (warn(), os._exit(0)); os.waitpid(pid, 0)",
        "somebody.elses WARNING: disk almost full",
    ),
    "a record of a scenario's": (
        "alone(PATCHED, warn)",
        "somebody.elses WARNING: disk almost full",
    ),
    "a handler's error": ("serve('greenlet')", "LookupError: a handler's"),
    "an error in a child": ("serve('forking')", "LookupError: a handler's"),
    "a handler's error in a scenario": (
        "alone(PATCHED, serve, 'threading')",
        "LookupError: a handler's",
    ),
    "a greenlet's error": (
        "gevent.spawn(int, 'x').join()",
        "invalid literal for int()",
    ),
    "what a program writes": (
        "subprocess.run([sys.executable, '-c', 'exit(\"no such luck\")'])",
        "unexpected no such luck",
    ),
    "a file that a scenario left to the collector": (
        "alone(PATCHED, leave_in_cycle)",
        "ResourceWarning: unclosed file",
    ),
    "a descriptor that a scenario kept": (
        "alone(PATCHED, keep_descriptor)",
        "unexpected left behind: descriptor",
    ),
    "a child that a scenario left": (
        "alone(PATCHED, leave_child)",
        "unexpected left behind: child process",
    ),
    "what was announced and did not come": (
        "pass",
        "no warning with 'never said'",
        "@pytest.mark.expect_warnings('never said')",
    ),
    "what comes beside what was announced": (
        "warn(); serve('none')",
        "unexpected Exception occurred",
        "@pytest.mark.expect_warnings('disk')",
    ),
}
PASS = {
    "nothing": ("say_nothing()",),
    "nothing in a scenario": ("alone(PATCHED, say_nothing)",),
    "what was announced": ("warn()", "@pytest.mark.expect_warnings('disk')"),
    "what was announced, in a scenario": (
        "alone(PATCHED, warn); alone(PATCHED, serve, 'greenlet')",
        "@pytest.mark.expect_warnings('disk', \"a handler's\")",
    ),
    "what was announced and need not come": (
        "pass",
        "@pytest.mark.expect_warnings('never said', always=False)",
    ),
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str]]:
    """By what each test does: how many failures and errors it has, and what these say."""
    folder = tmp_path_factory.mktemp("sample")
    samples = {what: (body, *mark) for what, (body, _, *mark) in FAIL.items()} | PASS
    tests = [
        f"{''.join(mark)}\ndef test_{number}(alone):\n    {body}\n"
        for number, (body, *mark) in enumerate(samples.values())
    ]
    (folder / "test_sample.py").write_text("\n".join([TESTS, *tests]))
    (folder / "pytest.ini").write_text("[pytest]\njunit_family = xunit1\n")
    options = ["-p", "tests.conftest", "-p", "no:xdist", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "--junitxml=outcomes.xml", "-c", "pytest.ini"],
        cwd=folder,
        env={"PYTHONPATH": f"{folder}:{REPOSITORY}", "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout + done.stderr
    said: dict[str, list[str]] = {f"test_{number}": [] for number in range(len(samples))}
    for case in ElementTree.parse(folder / "outcomes.xml").iter("testcase"):
        said[case.get("name", "")] += [
            each.text or "" for each in case if each.tag in ("failure", "error")
        ]
    return {
        what: (len(texts), "".join(texts))
        for what, texts in zip(samples, said.values(), strict=True)
    }


@pytest.mark.parametrize("what", FAIL)
def test_unexpected_message_is_found(outcomes: dict[str, tuple[int, str]], what: str) -> None:
    count, text = outcomes[what]
    assert count == 1
    assert FAIL[what][1] in text


@pytest.mark.parametrize("what", PASS)
def test_what_was_announced_is_not_found(outcomes: dict[str, tuple[int, str]], what: str) -> None:
    assert outcomes[what] == (0, "")
