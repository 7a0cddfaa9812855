from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.loadtest.processes import REPOSITORY, STUCK


def test_cases_pass_in_a_process_that_locust_has_patched() -> None:
    cases = [str(path) for path in sorted(Path(__file__).parent.glob("*_cases.py"))]
    assert len(cases) == 2
    # Without the repository's settings: locust's patching comes after pytest has imported ssl, of
    # which gevent warns, and warnings are errors there. Nor its conftest, to which a patched
    # process is a leak.
    command = [sys.executable, "-m", "pytest", "-q", "-c", "/dev/null", "--import-mode=importlib"]
    command += ["--noconftest", "-p", "no:cacheprovider"]
    command += ["-p", "tests.loadtest.clients.reported_rows", *cases]
    run = subprocess.run(
        command, cwd=REPOSITORY, capture_output=True, text=True, timeout=STUCK, check=False
    )
    assert run.returncode == 0, run.stdout[-5000:] + run.stderr[-5000:]
