"""Signal handlers of a program under `greensock run`: as under `python`, also where they block."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ..separate_process import STUCK
from .started import ENVIRONMENT as STRICT
from .started import greensock_run

ENVIRONMENT = {**STRICT, "PYTHONWARNINGS": "error,ignore::ResourceWarning"}

BEGIN = """
import os, queue, signal, socket, socketserver, subprocess, sys, threading, time

class Echo(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(line)

class Computing(socketserver.StreamRequestHandler):
    def handle(self):
        print("ready", flush=True)
        while True:
            pass

def say(*words):
    print(*words, flush=True)

server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo)
server.daemon_threads = True
thread = threading.Thread(target=server.serve_forever)
"""

#: What each does between its start, a signal once it has said "ready", and its end.
PROGRAMS = {
    "handler that waits for the server's thread": """
thread.start()
def stop(number, frame):
    server.shutdown()
    thread.join()
    say("stopped", number)
    sys.exit(7)
signal.signal(signal.SIGTERM, stop)
say("ready")
while True:
    time.sleep(60)
""",
    "main thread that waits for the same": """
thread.start()
def stop(number, frame):
    server.shutdown()
    thread.join()
    say("stopped")
    sys.exit(7)
signal.signal(signal.SIGTERM, stop)
say("ready")
thread.join()
say("never said")
sys.exit(1)
""",
    "main thread stands still meanwhile": """
def handle(number, frame):
    if number == signal.SIGTERM:
        sys.exit(2)
    time.sleep(0.5)
    say("handled")
signal.signal(signal.SIGUSR1, handle)
signal.signal(signal.SIGTERM, handle)
woken = threading.Event()
threading.Timer(0.3, woken.set).start()
threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGUSR1)).start()
woken.wait()
say("went on")
say("ready")
time.sleep(60)
""",
    "exception that the main thread catches": """
class Told(Exception):
    pass
def tell(number, frame):
    time.sleep(0.05)
    raise Told("now")
signal.signal(signal.SIGTERM, tell)
try:
    say("ready")
    threading.Event().wait(60)
except Told as error:
    say("caught", error)
    sys.exit(3)
""",
    "exception that nobody catches": """
def tell(number, frame):
    time.sleep(0.05)
    raise ValueError("now")
signal.signal(signal.SIGTERM, tell)
say("ready")
queue.Queue().get()
""",
    "event that the main thread waits for": """
stopping = threading.Event()
signal.signal(signal.SIGTERM, lambda number, frame: stopping.set())
thread.start()
say("ready")
stopping.wait()
server.shutdown()
thread.join()
say("stopped")
""",
    "thread that stops the server of the main thread": """
def stop(number, frame):
    threading.Thread(target=server.shutdown).start()
signal.signal(signal.SIGTERM, stop)
say("ready")
server.serve_forever()
say("stopped")
""",
    "exit from serve_forever": """
def stop(number, frame):
    server.server_close()
    time.sleep(0.05)
    sys.exit(5)
signal.signal(signal.SIGTERM, stop)
say("ready")
server.serve_forever()
""",
    "pause": """
def stop(number, frame):
    time.sleep(0.05)
    say("told")
signal.signal(signal.SIGTERM, stop)
thread.start()
def ask():
    with socket.create_connection(server.server_address) as client:
        client.sendall(b"ready\\n")
        sys.stdout.write(client.makefile().readline())
        sys.stdout.flush()
asking = threading.Thread(target=ask)
asking.start()
signal.pause()
server.shutdown()
say("paused no more")
""",
    "program in the handler": """
def stop(number, frame):
    done = subprocess.run([sys.executable, "-c", "print('from another')"], stdout=subprocess.PIPE)
    say(done.stdout)
    sys.exit(4)
signal.signal(signal.SIGTERM, stop)
say("ready")
time.sleep(60)
""",
    "amid a request that computes": """
server.RequestHandlerClass = Computing
thread.daemon = True
thread.start()
def stop(number, frame):
    say("told")
    sys.exit(7)
signal.signal(signal.SIGTERM, stop)
try:
    client = socket.create_connection(server.server_address)
    time.sleep(60)
finally:
    say("ended")
""",
    "amid one, and told nothing": """
server.RequestHandlerClass = Computing
thread.daemon = True
thread.start()
def note(number, frame):
    say("noted")
    os._exit(3)
signal.signal(signal.SIGTERM, note)
client = socket.create_connection(server.server_address)
time.sleep(60)
""",
    "another signal in the handler": """
def first(number, frame):
    os.kill(os.getpid(), signal.SIGUSR1)
    time.sleep(0.1)
    say("first")
    sys.exit(6)
def second(number, frame):
    time.sleep(0.05)
    say("second")
signal.signal(signal.SIGTERM, first)
signal.signal(signal.SIGUSR1, second)
say("ready")
time.sleep(60)
""",
    "alarm": """
def late(number, frame):
    raise TimeoutError("too late")
signal.signal(signal.SIGALRM, late)
signal.signal(signal.SIGTERM, lambda number, frame: signal.setitimer(signal.ITIMER_REAL, 0.05))
try:
    say("ready")
    time.sleep(60)
except TimeoutError as error:
    say(error)
""",
    "Ctrl-C amid a thread that computes": """
def compute():
    begun.wait()
    say("ready")
    while True:
        pass
begun = threading.Event()
threading.Thread(target=compute, daemon=True).start()
try:
    begun.set()
    time.sleep(60)
except KeyboardInterrupt:
    say("interrupted")
    os._exit(3)
""",
    "Ctrl-C amid a thread that never rests": """
def toil():
    begun.wait()
    say("ready")
    while True:
        try:
            time.sleep(0)
        except BaseException as error:
            say("in a thread", repr(error))
            os._exit(1)
begun = threading.Event()
threading.Thread(target=toil, daemon=True).start()
try:
    begun.set()
    threading.Event().wait()
except KeyboardInterrupt:
    say("interrupted")
    sys.exit(3)
""",
    "Ctrl-C amid requests": """
class Toiling(socketserver.StreamRequestHandler):
    def handle(self):
        say("ready")
        try:
            while True:
                time.sleep(0)
        except BaseException as error:
            say("in a handler", repr(error))
            os._exit(1)
server.RequestHandlerClass = Toiling
client = socket.create_connection(server.server_address)
try:
    server.serve_forever()
except KeyboardInterrupt:
    say("interrupted")
    os._exit(3)
""",
    "Ctrl-C with the default handler set anew": """
say(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
say(signal.signal(signal.SIGINT, signal.SIG_IGN) is signal.default_int_handler)
say(signal.signal(signal.SIGINT, signal.default_int_handler) is signal.SIG_IGN)
say(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
thread.start()
try:
    say("ready")
    thread.join()
except KeyboardInterrupt:
    say("interrupted")
    server.shutdown()
""",
    "what signal() and getsignal() say": """
def one(number, frame): ...
def two(number, frame): ...
say(signal.signal(signal.SIGUSR1, one) is signal.SIG_DFL)
say(signal.getsignal(signal.SIGUSR1) is one, signal.signal(signal.SIGUSR1, two) is one)
say(signal.signal(signal.SIGUSR1, signal.SIG_IGN) is two, signal.getsignal(signal.SIGINT))
signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(2))
say("ready")
time.sleep(60)
""",
}

#: What is interrupted in an unpatched process is the handler of a request, which here keeps it.
LANDS_IN_HANDLER = {"Ctrl-C amid requests"}


def ended(command: list[str], folder: Path, number: int) -> tuple[int, str, list[str]]:
    with subprocess.Popen(
        command,
        cwd=folder,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        said = ""
        while "ready" not in said:
            line = process.stdout.readline()
            assert line, said + process.stderr.read()  # type: ignore[union-attr]
            said += line
        process.send_signal(number)
        try:
            try:
                out, err = process.communicate(timeout=STUCK / 3)
            except subprocess.TimeoutExpired:
                # One that comes as the main thread begins to wait is seen with the next.
                process.send_signal(number)
                out, err = process.communicate(timeout=STUCK)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        return process.returncode, said + out, err.strip().splitlines()[-1:]


@pytest.mark.parametrize("name", PROGRAMS)
def test_program_stops_as_under_python(tmp_path: Path, name: str) -> None:
    (tmp_path / "program.py").write_text(BEGIN + PROGRAMS[name])
    number = signal.SIGINT if name.startswith("Ctrl-C") else signal.SIGTERM
    plainly = ended([sys.executable, "program.py"], tmp_path, number)
    assert ended(greensock_run("program.py"), tmp_path, number) == plainly
    if name not in LANDS_IN_HANDLER:
        assert ended(greensock_run("--no-monkey", "program.py"), tmp_path, number) == plainly
