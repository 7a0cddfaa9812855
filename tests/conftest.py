"""Fixtures that every test has, and the sentry that watches what each leaves behind."""

import contextlib
import logging
import os
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from greensock.testing import running

from .leak_sentry import LeakSentry

# The arithmetic behind the plots starts native threads when it is imported, in whichever test that
# happens to be; with one thread it starts none.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

_sentry = LeakSentry()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "expect_warnings(*patterns): the test makes greensock log warnings or worse, each of which "
        "one of the regular expressions is found in, and each of which is found in at least one",
    )
    _sentry.prepare()


class _Warnings(logging.Handler):
    """Keeps what was logged as WARNING or worse, since `clear`."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(f"{record.name} {record.levelname}: {self.format(record)}")


_warnings = _Warnings()
logging.getLogger("greensock").addHandler(_warnings)


@pytest.fixture(autouse=True)
def nothing_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves something behind, or that logs a warning it has not announced."""
    _warnings.messages.clear()
    _sentry.begin()
    yield
    found = [f"left behind: {leak}" for leak in _sentry.leaks()]
    found += _surprises(request.node.get_closest_marker("expect_warnings"))
    if found:
        pytest.fail("\n".join(found), pytrace=False)


def _surprises(marker: pytest.Mark | None) -> list[str]:
    """Warnings that were not announced, and announced ones that did not come."""
    patterns: tuple[str, ...] = marker.args if marker else ()
    return [
        *(
            f"unexpected {message}"
            for message in _warnings.messages
            if not any(re.search(pattern, message) for pattern in patterns)
        ),
        *(
            f"no warning with {pattern!r}"
            for pattern in patterns
            if not any(re.search(pattern, message) for message in _warnings.messages)
        ),
    ]


@pytest.fixture
def serving(nothing_left_behind: None) -> Iterator[Callable[[Any], Any]]:
    """`serving(server)` serves in the background until the test ends, and returns the address."""
    with contextlib.ExitStack() as stack:
        yield lambda server: stack.enter_context(running(server))
