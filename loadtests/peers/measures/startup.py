"""How long a server takes to be there: its library's import, and the time to the first answer."""

import socket
import subprocess
import sys
import time

from ..catalogue import Contender
from ..machine import Cores, settle_on
from ..running import CHECKOUT, NotMeasured, Server
from .measure import Column, Figures, Measure, Scale

_TIMED = "import time; start = time.perf_counter(); {}; print(time.perf_counter() - start)"


def measure_startup(contender: Contender, scale: Scale, cores: Cores) -> Figures:
    """From just before the process is created to the end of its first exchange."""
    figures: Figures = {}
    server = Server(contender, cores.server)
    try:
        with socket.create_connection(server.address, timeout=10) as client:
            client.sendall(b"first\n")
            if client.recv(64) != b"first\n":
                raise NotMeasured("its first answer is wrong")
        figures["first_answer_ms"] = 1000 * (time.perf_counter() - server.started_at)
    except OSError as error:
        raise NotMeasured(server.complaint() or str(error)) from error
    finally:
        server.stop()
    if contender.imports:
        figures["import_ms"] = 1000 * _import_seconds(contender.imports, cores.server)
    return figures


def _import_seconds(statement: str, core: int) -> float:
    done = subprocess.run(
        [sys.executable, "-c", _TIMED.format(statement)],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=30,
        preexec_fn=settle_on(core),
    )
    if done.returncode:
        raise NotMeasured(f"{statement!r} failed: {done.stderr.strip().splitlines()[-1]}")
    return float(done.stdout)


STARTUP = Measure(
    name="startup",
    title="Start-up: the library's import, and from no process to the first answer",
    kind="tcp",
    run=measure_startup,
    columns=(
        Column("import_ms", "import ms", 1),
        Column("first_answer_ms", "first answer ms", 1),
    ),
)
