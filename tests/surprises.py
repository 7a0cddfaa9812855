"""What a test said without having announced it: log records, and whatever is on standard error.

Tracebacks of handlers, of gevent's callbacks and of exceptions that Python ignores are only ever
printed, so all of standard error counts: that of the programs and scenarios which the test has run
included (`tests.separate_process` passes on what a scenario printed).
"""

import logging
import os
import re
import sys
from collections.abc import Iterator

import pytest

# What stands between two messages: the rules around a handler's traceback, or an empty line.
_BETWEEN = re.compile(r"^-{40}\n|\n\n", re.MULTILINE)

_failed = pytest.StashKey[bool]()


class Records(logging.Handler):
    """Keeps what any logger has logged as WARNING or worse, since `clear`."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []
        self._pid = os.getpid()

    def emit(self, record: logging.LogRecord) -> None:
        message = f"{record.name} {record.levelname}: {self.format(record)}"
        if os.getpid() == self._pid:
            self.messages.append(message)
        else:
            # A child's list is its own, and its standard error is not.
            print(message, end="\n\n", file=sys.stderr, flush=True)


records = Records()


def prepare(config: pytest.Config) -> None:
    """Once in a process of pytest's."""
    config.addinivalue_line(
        "markers",
        "expect_warnings(*patterns, always=True): the test makes somebody log warnings or worse, "
        "or write to standard error; one of the regular expressions is found in each of these "
        "messages, and, unless always=False, each of them in at least one",
    )
    logging.getLogger().addHandler(records)


def judge(item: pytest.Item, report: pytest.TestReport) -> None:
    """Make a failure of the last report on a test that said what it has not announced.

    A test that has failed, or was skipped, may say what it likes.
    """
    if not report.passed:
        item.stash[_failed] = True
    if report.when != "teardown" or item.stash.get(_failed, False):
        return
    messages = [*records.messages, *_messages(report.capstderr)]
    found = list(_surprises(messages, item.get_closest_marker("expect_warnings")))
    if found:
        report.outcome = "failed"
        report.longrepr = "\n".join(found)


def _messages(text: str) -> Iterator[str]:
    return (piece.strip() for piece in _BETWEEN.split(text) if piece.strip())


def _surprises(messages: list[str], marker: pytest.Mark | None) -> Iterator[str]:
    """Messages that were not announced, and announced ones that did not come."""
    patterns: tuple[str, ...] = marker.args if marker else ()
    wanted = patterns if marker and marker.kwargs.get("always", True) else ()
    for message in messages:
        if not any(re.search(pattern, message) for pattern in patterns):
            yield f"unexpected {message}"
    for pattern in wanted:
        if not any(re.search(pattern, message) for message in messages):
            yield f"no warning with {pattern!r}"
