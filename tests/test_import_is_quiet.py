"""Importing greensock only defines names; each check runs in a process of its own."""

import subprocess
import sys
import textwrap

import pytest

BEFORE = """
import os, signal, sys, threading
def state():
    return {
        "handlers": [signal.getsignal(number) for number in signal.valid_signals()],
        "wakeup": signal.set_wakeup_fd(-1),
        "threads": sorted(os.listdir("/proc/self/task")),
        "descriptors": sorted(os.listdir("/proc/self/fd")),
        "excepthooks": [sys.excepthook, threading.excepthook, sys.unraisablehook],
    }
before = state()
"""


def run(program: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_import_changes_nothing_in_the_process() -> None:
    run(BEFORE + "import greensock\nassert state() == before, (before, state())")


def test_import_makes_no_hub() -> None:
    run("""
        import greensock
        from gevent._hub_local import get_hub_if_exists
        assert get_hub_if_exists() is None
        """)


def test_import_patches_nothing() -> None:
    run("""
        import os, select, signal, socket, subprocess, threading, time, _thread
        modules = [os, select, signal, socket, subprocess, threading, time, _thread]
        before = [dict(vars(module)) for module in modules]
        import greensock
        assert [dict(vars(module)) for module in modules] == before
        from gevent import monkey
        assert not any(map(monkey.is_module_patched, ("socket", "threading", "os", "time")))
        """)


@pytest.mark.parametrize("module", ["locust", "http.server", "socketserver", "ssl", "asyncio"])
def test_import_leaves_out(module: str) -> None:
    """locust patches its process; ssl must not be there before the program patches itself.

    `http.server` and `socketserver` are what a program replaces greensock's names into.
    """
    run(f"import sys, greensock; assert {module!r} not in sys.modules")


def test_patching_after_the_import_draws_no_warning() -> None:
    run("import greensock; from gevent import monkey; monkey.patch_all()")


def test_import_in_a_patched_process_makes_no_hub() -> None:
    run("""
        from gevent import monkey; monkey.patch_all()
        from gevent._hub_local import get_hub_if_exists
        had_hub = get_hub_if_exists() is not None
        import greensock
        assert (get_hub_if_exists() is not None) == had_hub
        """)


def test_import_works_outside_the_main_thread() -> None:
    run("""
        import threading
        failures = []
        def load():
            try:
                import greensock
            except BaseException as failure:
                failures.append(failure)
        thread = threading.Thread(target=load)
        thread.start(); thread.join()
        assert not failures, failures
        """)
