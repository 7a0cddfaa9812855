"""The sentry finds each kind of leak; each is made in a process of its own."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from . import leak_sentry

LEAKS = {
    "descriptor": "kept = os.open('/dev/null', os.O_RDONLY)",
    "descriptor of a number used before": """
        os.dup2(os.open('/dev/zero', os.O_RDONLY), reused)
        os.close(reused + 1)
        """,
    "thread": """
        threading.Thread(target=threading.Event().wait, name="forgotten", daemon=True).start()
        """,
    "child": "kept = subprocess.Popen(['sleep', '60'], stdin=subprocess.DEVNULL)",
    "zombie": "os.fork() or os._exit(0)",
    "greenlet": "kept = gevent.spawn(Event().wait); gevent.sleep(0)",
    "raw greenlet": """
        kept = greenlet.greenlet(lambda: greenlet.getcurrent().parent.switch())
        kept.switch()
        """,
    "socket file": """
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind('forgotten')
        """,
    "parked client": """
        from types import SimpleNamespace
        from greensock.lot.lot import PARKED, Client
        kept = Client(SimpleNamespace(_closed=False), 'somebody')
        kept.state = PARKED
        """,
    "process patched by gevent": "from gevent import monkey; monkey.patch_all()",
}
HARMLESS = {
    "nothing": "pass",
    "what is closed": "os.close(os.open('/dev/null', os.O_RDONLY))",
    "a thread that ends a little later": "threading.Timer(0.05, int).start()",
    "a greenlet that ends a little later": "gevent.spawn(gevent.sleep, 0.05); gevent.sleep(0)",
    "a greenlet that nobody refers to any more": """
        greenlet.greenlet(lambda: greenlet.getcurrent().parent.switch()).switch()
        """,
    "a child that was waited for": "subprocess.run(['true'], stdin=subprocess.DEVNULL)",
    "a socket file that was removed": """
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind('removed')
        os.unlink('removed')
        """,
    "an address in the abstract namespace": r"""
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(f'\0greensock test {os.getpid()}')
        """,
    "idle threads of gevent's pool": "gevent.get_hub().threadpool.apply(int)",
}

PROGRAM = """
import os, socket, subprocess, sys, threading
sys.path.insert(0, sys.argv[1])
import gevent, greenlet
from gevent.event import Event
from leak_sentry import LeakSentry
sentry = LeakSentry()
sentry.prepare()
reused = os.open('/dev/null', os.O_RDONLY)
sentry.begin()
{leak}
found = sentry.leaks(grace={grace})
for line in found:
    print(line, flush=True)
os.killpg(0, 15)
"""


def run(leak: str, grace: float, directory: Path) -> list[str]:
    program = PROGRAM.format(leak=textwrap.dedent(leak), grace=grace)
    done = subprocess.run(
        [sys.executable, "-c", program, str(Path(leak_sentry.__file__).parent)],
        cwd=directory,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        start_new_session=True,  # the program ends its group, and so the child it has left behind
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


@pytest.mark.parametrize("kind", LEAKS)
def test_leak_is_found(kind: str, tmp_path: Path) -> None:
    found = run(LEAKS[kind], 0.05, tmp_path)
    expected = {"zombie": "child", "raw greenlet": "greenlet"}.get(kind, kind.split(" of ")[0])
    assert len(found) == 1
    assert expected in found[0]


@pytest.mark.parametrize("kind", HARMLESS)
def test_what_is_no_leak_is_not_found(kind: str, tmp_path: Path) -> None:
    assert run(HARMLESS[kind], 30, tmp_path) == []
