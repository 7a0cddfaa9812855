"""What a run of CPython's tests reports: one line of JSON for each thing that happens.

Imported by run_suite.py, when the process has been patched or not as told.
"""

import json
import unittest
from typing import TextIO


class Report(unittest.TestResult):
    """A line when a test starts and one when it ends, so that one that hangs names itself."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self.report = stream
        # What a test prints is then part of the text of its failure.
        self.buffer = True

    def write(self, event: str, test, text: str = "") -> None:
        self.report.write(json.dumps([event, test.id(), text]) + "\n")
        self.report.flush()

    def startTest(self, test) -> None:
        super().startTest(test)
        self.write("start", test)

    def addSuccess(self, test) -> None:
        super().addSuccess(test)
        self.write("passed", test)

    def addSkip(self, test, reason) -> None:
        super().addSkip(test, reason)
        self.write("skipped", test, reason)

    def addFailure(self, test, err) -> None:
        super().addFailure(test, err)
        self.write("failed", test, self.failures[-1][1])

    def addError(self, test, err) -> None:
        super().addError(test, err)
        self.write("failed", test, self.errors[-1][1])

    def addSubTest(self, test, subtest, err) -> None:
        super().addSubTest(test, subtest, err)
        if err is not None:
            text = (self.failures + self.errors)[-1][1]
            self.write("failed", test, f"{subtest.id()}\n{text}")

    def addUnexpectedSuccess(self, test) -> None:
        super().addUnexpectedSuccess(test)
        self.write("failed", test, "unexpected success")
