"""HTTP keep-alive requests to http.server handlers, under wrk."""

import re
import resource
import shutil
import subprocess
import time

from greensock.processes import seen

from ..catalogue import Contender
from ..load.window import SATURATED
from ..machine import Cores, settle_on
from ..running import NotMeasured, Server, serving
from .measure import LOAD_COLUMNS, Column, Figures, Measure, Scale

CONNECTIONS = 50
_UNITS_US = {"us": 1.0, "ms": 1e3, "s": 1e6}


def measure_http(contender: Contender, scale: Scale, cores: Cores) -> Figures:
    """Requests per second on connections that stay open."""
    wrk = shutil.which("wrk")
    if wrk is None:
        raise NotMeasured("wrk is not installed (Debian: apt-get install wrk)")
    with serving(contender, cores) as (server, _):
        # wrk counts whole seconds only.
        return _run(wrk, server, max(1, round(scale.window)), cores)


def _run(wrk: str, server: Server, seconds: int, cores: Cores) -> Figures:
    host, port = server.address
    url = f"http://{host}:{port}/"
    options = ["-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency"]
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu, start = seen.cpu_seconds(seen.tree(server.pid)), time.perf_counter()
    done = subprocess.run(
        [wrk, *options, url],
        capture_output=True,
        text=True,
        timeout=seconds + 30,
        preexec_fn=settle_on(cores.load),
    )
    spent = time.perf_counter() - start
    cpu = seen.cpu_seconds(seen.tree(server.pid)) - cpu
    now_used = resource.getrusage(resource.RUSAGE_CHILDREN)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
    if rate is None or float(rate[1]) == 0:
        raise NotMeasured(f"wrk got no answer; {server.complaint() or done.stderr.strip()}")
    generator_cpu = (now_used.ru_utime + now_used.ru_stime - used.ru_utime - used.ru_stime) / spent
    figures: Figures = {
        "per_second": float(rate[1]),
        "server_cpu": cpu / spent,
        "generator_cpu": generator_cpu,
        "per_server_second": float(rate[1]) / (cpu / spent) if cpu else None,
        "saturated": generator_cpu >= SATURATED > cpu / spent,
        "failed": _failed(done.stdout),
    }
    for share, key in (("50%", "p50_us"), ("99%", "p99_us")):
        if found := re.search(rf"^\s+{share}\s+([\d.]+)(us|ms|s)\s*$", done.stdout, re.MULTILINE):
            figures[key] = float(found[1]) * _UNITS_US[found[2]]
    return figures


def _failed(output: str) -> int:
    wrong = re.search(r"Non-2xx or 3xx responses: (\d+)", output)
    errors = re.search(r"Socket errors: (.*)", output)
    total = int(wrong[1]) if wrong else 0
    return total + (sum(map(int, re.findall(r"\d+", errors[1]))) if errors else 0)


HTTP = Measure(
    name="http",
    title=f"HTTP keep-alive requests to http.server handlers, wrk with {CONNECTIONS} connections",
    kind="http",
    run=measure_http,
    columns=(*LOAD_COLUMNS, Column("failed", "failed")),
)
