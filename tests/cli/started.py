"""Programs started by `greensock run` or by `python`, in an environment that hides nothing."""

import os
import subprocess
import sys
from pathlib import Path

from ..separate_process import REPOSITORY, STUCK

#: A warning of greensock's or gevent's would be an error of the program.
ENVIRONMENT = {
    "PATH": os.defpath,
    "PYTHONPATH": str(REPOSITORY),
    "PYTHONUNBUFFERED": "1",
    "PYTHONWARNINGS": "error",
    "PYTHONDONTWRITEBYTECODE": "1",
}


def greensock_run(*options: str) -> list[str]:
    return [sys.executable, "-m", "greensock", "run", *options]


def ended(command: list[str], folder: Path) -> tuple[int, str, str]:
    done = subprocess.run(
        command,
        cwd=folder,
        env=ENVIRONMENT,
        input="text",
        capture_output=True,
        text=True,
        timeout=3 * STUCK,
    )
    return done.returncode, done.stdout, done.stderr.replace(f"{sys.executable}: ", "greensock: ")
