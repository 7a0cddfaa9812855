"""Programs of other people's, unchanged, under `greensock run`: as on the standard library.

Each is served by both at once, with clients that say nothing more held beside; its own client, or
an independent one, must be answered the same by both, and Ctrl-C must end both alike. All run
before the first test reports: side by side they take a third of the time.
"""

import contextlib
import re
import shutil
import signal
import subprocess
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from loadtests.programs.catalogue import PROGRAMS, Program
from loadtests.programs.running import GREENSOCK, STDLIB, STUCK, Failed, Run, ask

#: Of the clients that were idle, so many ask once more at the end.
ASKED_AGAIN = 5

INSTALLED = [program for program in PROGRAMS if not program.missing()]


def serve_both(program: Program) -> str:
    """Serve, hold idle clients, ask; return what is wrong, or nothing."""
    with Run(program, STDLIB) as plain, Run(program, GREENSOCK) as run:
        plain.wait_ready()
        run.wait_ready()
        with contextlib.ExitStack() as stack:
            held = []
            if program.one_at_a_time:
                # Its first silent client would keep all others waiting for ever.
                [expected] = ask(program, plain)
            else:
                held.append((plain, stack.enter_context(plain.idle_clients(program.idle))))
            held.append((run, stack.enter_context(run.idle_clients(program.idle))))
            if program.one_at_a_time:
                [answers] = ask(program, run)
            else:
                expected, answers = ask(program, plain, run)
            for each, clients in held:
                for client in clients[:ASKED_AGAIN]:
                    each.exchange_again(client)
        if answers != expected or not answers:
            return f"greensock answered {answers!r}, the standard library {expected!r}"
        if "Traceback" in run.said() and "Traceback" not in plain.said():
            return run.said()
        return end_both(plain, run)


def end_both(plain: Run, run: Run) -> str:
    """End both as Ctrl-C does; return how greensock's exit status differs, or nothing."""
    for each in (plain, run):
        each.process.send_signal(signal.SIGINT)
    expected = plain.process.wait(STUCK)
    try:
        status = run.process.wait(STUCK)
    except subprocess.TimeoutExpired:
        return f"Ctrl-C did not end greensock\n{run.said()}"
    if status != expected:
        return f"greensock ended with {status}, the standard library with {expected}\n{run.said()}"
    return ""


@pytest.fixture(scope="module")
def outcomes() -> dict[str, Future[str]]:
    with ThreadPoolExecutor(3) as pool:
        return {program.name: pool.submit(serve_both, program) for program in INSTALLED}


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
def test_program_is_served_as_by_the_standard_library(
    outcomes: dict[str, Future[str]], program: Program
) -> None:
    if missing := program.missing():
        pytest.skip(f"not installed: {', '.join(missing)} (extra: programs)")
    assert outcomes[program.name].result() == ""


@pytest.mark.skipif(shutil.which("wrk") is None, reason="needs wrk")
def test_kept_connections_under_load_beside_idle_ones() -> None:
    [program] = [each for each in PROGRAMS if each.name == "ThreadingHTTPServer"]
    with Run(program, GREENSOCK) as run:
        run.wait_ready()
        with run.idle_clients(program.idle) as clients:
            done = subprocess.run(
                ["wrk", "-t1", "-c20", "-d1s", f"http://127.0.0.1:{run.port}/page"],
                capture_output=True,
                text=True,
                check=True,
            )
            run.exchange_again(clients[0])
        found = re.search(r"(\d+) requests in", done.stdout)
        assert found, done.stdout
        assert int(found[1]) > 0
        assert "Non-2xx" not in done.stdout
        assert "Socket errors" not in done.stdout
        assert run.said() == ""


def test_program_that_ends_at_once_is_told() -> None:
    broken = Program("broken", "", ("-c", "raise SystemExit('for a reason')"), "requests_session")
    with Run(broken, GREENSOCK) as run, pytest.raises(Failed, match="for a reason"):
        run.wait_ready()
