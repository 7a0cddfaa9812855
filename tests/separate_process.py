"""Scenarios that run in a process of their own: patched, on libuv, in the main thread.

A scenario is a function of a test module; it asserts as tests do, and counts as stuck after STUCK
seconds, or as many as its attribute `stuck_after` says. Starting an interpreter and
importing gevent takes 0.35 s for each, so one template per mode does that once and forks a fresh
process for every scenario, before any hub exists.

    python -m tests.separate_process MODE      # the template; scenarios come on its stdin
"""

import contextlib
import faulthandler
import gc
import importlib
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[1]

#: Seconds after which a scenario counts as stuck. Never a bound on speed: one that forks 120 times
#: took more than 10 on two processors that eight suites shared.
STUCK = 30.0

HERE = "here"
UNPATCHED = "unpatched"
PATCHED = "patched"
PATCHED_LATE = "patched-late"
NATIVE_THREADS = "patched-but-threads"
LIBUV = "libuv"
PATCHED_LIBUV = "patched-libuv"

#: What is not HERE (in the test's own process, unpatched) runs in a process of its own.
TEMPLATES = (UNPATCHED, PATCHED, PATCHED_LATE, NATIVE_THREADS, LIBUV, PATCHED_LIBUV)


class Template:
    """A process in one mode that forks one process for each scenario."""

    def __init__(self, mode: str) -> None:
        environment = dict(os.environ, PYTHONWARNINGS="error")
        if mode in (LIBUV, PATCHED_LIBUV):
            environment["GEVENT_LOOP"] = "libuv"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.separate_process", mode],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=REPOSITORY,
            env=environment,
        )

    def run(self, scenario: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        """Run the scenario to its end, and say on standard error what it said.

        Raises:
            AssertionError: it failed; the message is all that it printed.
        """
        order = [scenario.__module__, scenario.__qualname__, arguments]
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with tempfile.TemporaryFile("w+", errors="replace") as output:
            path = f"/proc/{os.getpid()}/fd/{output.fileno()}"
            print(json.dumps([path, *order]), file=self._process.stdin, flush=True)
            answer = self._process.stdout.readline()
            output.seek(0)
            said = output.read()
            if answer != "0\n":
                raise AssertionError(f"ended with {answer.strip()}\n{said}")
        sys.stderr.write(said)

    def close(self) -> None:
        with self._process:
            pass


class Templates:
    """All modes' templates, started together; `templates(mode, scenario, *arguments)` runs one."""

    def __init__(self, modes: tuple[str, ...] = TEMPLATES) -> None:
        self._templates = {mode: Template(mode) for mode in modes}

    def __call__(self, mode: str, scenario: Callable[..., Any], *arguments: Any) -> None:
        if mode == HERE:
            scenario(*arguments)
        else:
            self._templates[mode].run(scenario, arguments)

    def close(self) -> None:
        for template in self._templates.values():
            template.close()


def _prepare(mode: str) -> None:
    if mode == PATCHED_LATE:
        import greensock
    if mode == NATIVE_THREADS:
        from gevent import monkey

        monkey.patch_all(thread=False)
    elif mode in (PATCHED, PATCHED_LATE, PATCHED_LIBUV):
        from gevent import monkey

        monkey.patch_all()
    import greensock  # noqa: F401

    # Here, once, and not above: what it imports is to be patched first, or after greensock.
    from tests import leak_sentry  # noqa: F401


def _serve_scenarios() -> None:
    from gevent import monkey
    from gevent._hub_local import get_hub_if_exists

    fork = monkey.get_original("os", "fork")
    waitpid = monkey.get_original("os", "waitpid")
    for line in sys.stdin:
        path, module, name, arguments = json.loads(line)
        importlib.import_module(module)
        if get_hub_if_exists() is not None:
            # Every scenario from here on would have a hub that it shares with the others.
            print(f"no scenario: importing {module}, or one before, made a hub", flush=True)
            continue
        pid = fork()
        if pid == 0:
            _be_scenario(path, module, name, arguments)
        _, status = waitpid(pid, 0)
        # Children that the scenario has left behind.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _be_scenario(path: str, module: str, name: str, arguments: list[Any]) -> None:
    from tests import leak_sentry

    status = 1
    try:
        os.setpgid(0, 0)
        output = os.open(path, os.O_WRONLY | os.O_APPEND)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((nothing, 0), (output, 1), (output, 2)):
            os.dup2(source, target)
        # Its loggers have no other handler. The empty line is what ends a message for whoever
        # looks for unexpected ones.
        assert logging.lastResort is not None
        logging.lastResort.setFormatter(logging.Formatter("%(name)s %(levelname)s: %(message)s\n"))
        gc.freeze()
        scenario: Any = sys.modules[module]
        for part in name.split("."):
            scenario = getattr(scenario, part)
        faulthandler.dump_traceback_later(getattr(scenario, "stuck_after", STUCK), exit=True)
        before = leak_sentry.Snapshot.take()
        scenario(*arguments)
        # What was not closed, and not kept, says so now, on standard error.
        gc.collect()
        for leak in leak_sentry.left_by_scenario(before):
            print(f"left behind: {leak}\n", file=sys.stderr)
        status = 0
    except BaseException:  # noqa: BLE001
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    _prepare(sys.argv[1])
    _serve_scenarios()
