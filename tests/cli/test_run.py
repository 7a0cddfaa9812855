"""`greensock run`: a program behaves as if `python` had started it."""

import re
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from typing import Any

import pytest

from ..clients import ask, connect
from ..separate_process import STUCK
from ..tls.certificates import authority, client_context, write_pem
from .started import ENVIRONMENT, ended, greensock_run

FACTS = """
import pickle, sys
class Own: pass
print(sorted(globals()), __name__, globals().get("__file__"), __package__, __doc__)
print(__spec__ and (__spec__.name, __spec__.origin), type(__loader__).__name__)
print(sys.argv, sys.path[0], sys.modules["__main__"].Own is Own)
print(type(pickle.loads(pickle.dumps(Own()))) is Own, globals().get("__annotations__"))
"""

FILES = {
    "facts.py": '"""Its docstring."""' + FACTS,
    "package/__init__.py": "",
    "package/__main__.py": FACTS,
    "package/module.py": FACTS,
    "folder/__main__.py": FACTS + "import beside\n",
    "folder/beside.py": "print('beside is imported')",
    "beside.py": "print('the wrong one')",
    "broken.py": "def incomplete(:\n",
    "failing.py": """
def fail():
    try:
        {}["key"]
    except KeyError as error:
        raise ValueError("two tracebacks") from error
fail()
""",
    "hooked.py": """
import sys
import time
sys.excepthook = lambda cls, error, traceback: print(cls, error, traceback.tb_frame.f_code.co_name)
raise LookupError("told in its own way")
""",
    "ending.py": """
import atexit, threading, time
atexit.register(print, "at exit")
def work():
    time.sleep(0.05)
    print("the thread ends")
threading.Thread(target=work).start()
print("main ends")
""",
    "interrupted.py": """
import atexit, signal, time
atexit.register(print, "at exit")
signal.raise_signal(signal.SIGINT)
time.sleep(10)
""",
    "interrupted_asleep.py": """
import os, signal, subprocess, sys, time
child = "import os, signal, time; time.sleep(0.2); os.kill(os.getppid(), signal.SIGINT)"
with subprocess.Popen([sys.executable, "-c", child]):
    try:
        time.sleep(10)
    except KeyboardInterrupt:
        sys.exit("interrupted")
""",
    "reading.py": "import sys; print(sys.stdin.read().upper())",
}


@dataclass(frozen=True)
class Case:
    """What follows `python` or `greensock run`."""

    name: str
    arguments: tuple[str, ...]


CASES = (
    Case("script", ("facts.py", "--mixin", "no mixin of ours", "-m", "--check")),
    Case("linked script", ("linked/link.py",)),
    Case("absolute path", ("{here}/facts.py",)),
    Case("compiled script", ("facts.pyc", "argument")),
    Case("package", ("-m", "package", "--help")),
    Case("module", ("-mpackage.module", "-c", "argument")),
    Case("folder", ("folder", "argument")),
    Case("archive", ("archive.zip", "argument")),
    Case("code", ("-c", FACTS.replace("__loader__", "0"), "argument")),
    Case("status", ("-c", "import sys; sys.exit(3)")),
    Case("message", ("-c", "import sys; sys.exit('why')")),
    Case("no module", ("-m", "no_such_module")),
    Case("no file", ("no_such_file.py",)),
    Case("syntax", ("broken.py",)),
    Case("traceback", ("failing.py",)),
    Case("traceback of a module", ("-m", "failing")),
    Case("hook", ("hooked.py",)),
    Case("end", ("ending.py",)),
    Case("Ctrl-C", ("interrupted.py",)),
    Case("Ctrl-C in a module", ("-m", "interrupted")),
    Case("Ctrl-C caught", ("interrupted_asleep.py",)),
    Case("SIGTERM", ("-c", "import os, signal; os.kill(os.getpid(), signal.SIGTERM)")),
    Case("standard input", ("reading.py",)),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("programs")
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    (folder / "linked").mkdir()
    (folder / "linked" / "link.py").symlink_to(folder / "facts.py")
    with zipfile.ZipFile(folder / "archive.zip", "w") as archive:
        for name in ("__main__.py", "beside.py"):
            archive.write(folder / "folder" / name, name)
    subprocess.run(
        [sys.executable, "-c", "import py_compile as p; p.compile('facts.py', 'facts.pyc')"],
        cwd=folder,
        check=True,
    )
    return folder


@pytest.fixture(scope="module")
def endings(folder: Path) -> dict[Case, list[tuple[int, str, str]]]:
    """How each case ended, started by `python` and by `greensock run`: side by side."""

    def end(case: Case, command: list[str]) -> tuple[int, str, str]:
        arguments = [argument.replace("{here}", str(folder)) for argument in case.arguments]
        return ended([*command, *arguments], folder)

    with ThreadPoolExecutor(4) as pool:
        commands = ([sys.executable], greensock_run())
        running = {
            case: [pool.submit(end, case, command) for command in commands] for case in CASES
        }
        return {case: [each.result() for each in both] for case, both in running.items()}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_program_ends_as_if_started_by_python(
    endings: dict[Case, list[tuple[int, str, str]]], case: Case
) -> None:
    plainly, on_greensock = endings[case]
    assert on_greensock == plainly


MEANING = """
import socketserver, http.server, socket, sys, threading, time
mixin = socketserver.ThreadingMixIn
print([base.__name__ for base in mixin.__mro__])
print(time.sleep.__module__, http.server.ThreadingHTTPServer.max_greenlets, mixin.daemon_threads)
"""


@pytest.mark.parametrize(
    ("options", "base", "sleep"),
    [
        ((), "GreenletMixIn", "gevent.hub"),
        (("--mixin", "greenlet", "--no-monkey"), "GreenletMixIn", "time"),
        (("--mixin", "threading"), "ThreadingMixIn", "gevent.hub"),
        (("--mixin", "forking"), "ForkingMixIn", "gevent.hub"),
    ],
)
def test_mixin_and_monkey_patching_are_as_asked(
    folder: Path, options: tuple[str, ...], base: str, sleep: str
) -> None:
    program = MEANING.replace("max_greenlets", "request_queue_size")
    options = (
        *options,
        "--set",
        "request_queue_size=7",
        "--set",
        "ThreadingMixIn.daemon_threads=1",
    )
    status, out, err = ended(greensock_run(*options, "-c", program), folder)
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert repr(base) in lines[0]
    assert lines[1] == f"{sleep} 7 1"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "run needs a PROGRAM: script.py, -m module or -c code"),
        (("-m",), "-m needs a module"),
        (("--set", "nonsense", "x.py"), "--set must be NAME=VALUE, not 'nonsense'"),
        (
            ("--set", "no_such=1", "x.py"),
            "--set: no server and no request handler has an attribute no_such",
        ),
        (("--mixin", "fibers", "x.py"), "fibers"),
        (("--mix", "greenlet", "x.py"), "--mix"),
    ],
)
def test_mistake_gets_one_line_and_status_2(
    folder: Path, arguments: tuple[str, ...], message: str
) -> None:
    status, out, err = ended(greensock_run(*arguments), folder)
    assert (status, out) == (2, "")
    assert message in err.splitlines()[-1]
    assert "Traceback" not in err


def test_setting_for_a_class_that_never_was_is_told(folder: Path) -> None:
    command = greensock_run("--set", "Handler.timeout=5", "-c", "print('done')")
    assert ended(command, folder) == (
        0,
        "done\n",
        "greensock: --set: the program has no class Handler\n",
    )


EARLY = """
import sys, http.server
from greensock.cli import main
sys.exit(main(["run", *sys.argv[1:]]))
"""


def test_program_whose_classes_were_made_before_runs_as_it_was(folder: Path) -> None:
    """As where a .pth file of the environment imports http.server."""
    quiet = {**ENVIRONMENT, "PYTHONWARNINGS": "default"}
    program = "import socketserver, time; print(socketserver.TCPServer.__mro__, time.sleep)"
    done = subprocess.run(
        [sys.executable, "-c", EARLY, "-c", program],
        env=quiet,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "greensock" not in done.stdout
    assert "built-in" in done.stdout
    assert "http.server (BaseHTTPRequestHandler, " in done.stderr
    checked = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", EARLY, "--check", "-c", program],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
    )
    assert checked.returncode == 1
    assert checked.stdout.startswith("on the standard library's socketserver already: http.server")


def answer_of_page(port: int, over_tls: bool) -> int:
    if over_tls:
        ours = client_context()
        connection: HTTPConnection = HTTPSConnection("127.0.0.1", port, timeout=STUCK, context=ours)
    else:
        connection = HTTPConnection("127.0.0.1", port, timeout=STUCK)
    try:
        for _ in range(2):
            connection.request("GET", "/facts.py")
            response = connection.getresponse()
            response.read()
        return response.status
    finally:
        connection.close()


def ended_by(
    command: list[str], how: signal.Signals, folder: Path, *options: str
) -> tuple[int, str, str]:
    """Serve a folder with the module http.server, ask, and end it."""
    arguments = ["-m", "http.server", "0", "--bind", "127.0.0.1", "--protocol", "HTTP/1.1"]
    with subprocess.Popen(
        [*command, *arguments, *options],
        cwd=folder,
        # What is busy as the program ends is dropped, as daemon threads are; but their sockets are
        # not even collected.
        env={**ENVIRONMENT, "PYTHONWARNINGS": "error,ignore::ResourceWarning"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"port (\d+)", line)
        assert found, line
        assert answer_of_page(int(found[1]), "--tls-cert" in options) == 200
        process.send_signal(how)
        try:
            out, err = process.communicate(timeout=STUCK)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        return process.returncode, out, re.sub(r"\[.*?\]", "[when]", err)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_a_server_as_if_started_by_python(folder: Path, how: signal.Signals) -> None:
    commands: list[Any] = [[sys.executable], greensock_run(), greensock_run("--no-monkey")]
    serve: Callable[[list[str]], Any] = lambda command: ended_by(command, how, folder)  # noqa: E731
    with ThreadPoolExecutor() as pool:
        plainly, *on_greensock = pool.map(serve, commands)
    assert on_greensock == [plainly, plainly]


@pytest.mark.skipif(sys.version_info < (3, 14), reason="http.server of Python 3.14 knows TLS")
@pytest.mark.parametrize("mixin", ["greenlet", "threading", "forking"])
def test_https_server_of_the_standard_library(folder: Path, tmp_path: Path, mixin: str) -> None:
    certificate = write_pem(authority().issue_cert("127.0.0.1"), tmp_path)
    command = greensock_run("--mixin", mixin)
    ended_by(command, signal.SIGTERM, folder, "--tls-cert", str(certificate))


ONCE = """
import socketserver
class Upper(socketserver.StreamRequestHandler):
    def handle(self):
        self.wfile.write(self.rfile.readline().upper())
server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Upper)
print(server.server_address[1])
server.handle_request()
server.socket.close()
"""


@pytest.mark.parametrize(
    "options", [(), ("--no-monkey",), ("--mixin", "threading"), ("--mixin", "forking")]
)
def test_end_of_the_program_waits_for_its_handlers(folder: Path, options: tuple[str, ...]) -> None:
    with subprocess.Popen(
        greensock_run(*options, "-c", ONCE), env=ENVIRONMENT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        with connect(("127.0.0.1", int(process.stdout.readline()))) as client:
            assert ask(client, b"late\n") == b"LATE\n"
        assert process.wait(STUCK) == 0
