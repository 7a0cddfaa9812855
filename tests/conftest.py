"""Fixtures that every test has, and what watches each: what it leaves behind, what it says."""

import contextlib
import os
import signal
from collections.abc import Callable, Generator, Iterator
from typing import Any

import pytest

from greensock.testing import running

from . import surprises
from .leak_sentry import LeakSentry

# The arithmetic behind the plots starts native threads when it is imported, in whichever test that
# happens to be; with one thread it starts none.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# Tests start a thousand interpreters. Told not to keep bytecode, each would compile greensock anew:
# 150 ms, and not 70.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

_sentry = LeakSentry()


def pytest_configure(config: pytest.Config) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # A shell that runs the tests in the background has it ignored, in the programs that they
        # start too.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    surprises.prepare(config)
    _sentry.prepare()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    surprises.judge(item, report)
    return report


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """Fail a test that leaves something behind."""
    surprises.records.messages.clear()
    _sentry.begin()
    yield
    if found := _sentry.leaks():
        pytest.fail("\n".join(f"left behind: {leak}" for leak in found), pytrace=False)


@pytest.fixture
def serving(nothing_left_behind: None) -> Iterator[Callable[[Any], Any]]:
    """`serving(server)` serves in the background until the test ends, and returns the address."""
    with contextlib.ExitStack() as stack:
        yield lambda server: stack.enter_context(running(server))
