"""CPython's own tests of socketserver and of what is built on it, with greensock in its place.

Patched and unpatched, patched before and after the import, on libev and on libuv. Everything that
is selected runs before the first test reports: most of the time goes into tests that only wait, so
that many processes at once need a third of the time that one after the other would.
"""

import importlib.util
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from .known_differences import DIFFERENCES, MODES, Difference
from .suites import SUITES, Outcome, Suite, run_difference, run_suite

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("test") is None
    or importlib.util.find_spec("test.test_socketserver") is None,
    reason="this interpreter comes without CPython's test package",
)

HAS_LIBUV = importlib.util.find_spec("cffi") is not None


@dataclass(frozen=True)
class Job:
    """One process: a suite without its known differences, or one of those."""

    what: Suite | Difference
    mode: str
    server: str = "greensock"

    def __str__(self) -> str:
        name = self.what.module if isinstance(self.what, Suite) else self.what.test
        return f"{name.removeprefix('test.')}, {self.mode}"

    def run(self, directory: Path) -> Outcome:
        run = run_suite if isinstance(self.what, Suite) else run_difference
        return run(self.what, self.mode, directory, self.server)  # type: ignore[operator]


def jobs(*all_of: Job) -> pytest.MarkDecorator:
    no_libuv = pytest.mark.skip(reason="gevent's libuv loop needs cffi")
    return pytest.mark.parametrize(
        "job",
        [
            pytest.param(
                job,
                id=str(job),
                marks=[no_libuv] if MODES[job.mode][1] == "libuv" and not HAS_LIBUV else [],
            )
            for job in all_of
        ],
    )


@pytest.fixture(scope="module")
def outcomes(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[Job, Outcome]:
    """What each job selected in this session came to."""
    wanted = [
        item.callspec.params["job"]
        for item in request.session.items
        if item.path == request.path and not any(item.iter_markers("skip"))
    ]
    root = tmp_path_factory.mktemp("suites")
    with ThreadPoolExecutor(max_workers=6) as pool:
        runs = [pool.submit(job.run, root / str(number)) for number, job in enumerate(wanted)]
    return {job: run.result() for job, run in zip(wanted, runs, strict=True)}


@jobs(*(Job(suite, mode) for suite in SUITES for mode in suite.modes))
def test_the_suite_passes_but_for_known_differences(job: Job, outcomes: dict[Job, Outcome]) -> None:
    outcome = outcomes[job]
    assert not outcome.failures, "\n\n".join(
        f"{test}\n{text}" for test, text in outcome.failures.items()
    )
    assert isinstance(job.what, Suite)
    assert len(outcome.passed) >= job.what.least, "the suite has lost most of its tests"


@jobs(*(Job(known, mode) for known in DIFFERENCES for mode in known.modes))
def test_a_known_difference_still_differs(job: Job, outcomes: dict[Job, Outcome]) -> None:
    assert isinstance(job.what, Difference)
    assert job.what.test in outcomes[job].failures, (
        f"{job.what.test} now passes {job.mode} (or is gone): delete its entry ({job.what.reason})"
    )


@jobs(
    *(
        Job(known, mode, server="socketserver")
        for known in DIFFERENCES
        if known.standard_library_fails
        for mode in known.modes
    )
)
def test_the_standard_library_differs_too(job: Job, outcomes: dict[Job, Outcome]) -> None:
    assert isinstance(job.what, Difference)
    assert job.what.test in outcomes[job].failures, (
        f"{job.what.test} passes on socketserver itself: the difference would be greensock's own"
    )
