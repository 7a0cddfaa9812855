"""The stretch of time that a figure is taken over, and whose CPU was used up in it."""

import os
import time
from collections.abc import Callable
from typing import Any

from greensock.processes import seen

from .latencies import summarise

SATURATED = 0.95  # share of a core; arbitrary, above what scheduling noise alone takes away

DISTURBED = 0.15  # cores; arbitrary, well above an idle machine's 0.01 and the ticks' granularity


class _Window:
    """Starts when it is made; `close` tells its length and whose CPU was used."""

    def __init__(self, server_pid: int) -> None:
        self._server_pid = server_pid
        self._cores = os.sched_getaffinity(0) | os.sched_getaffinity(server_pid)
        self._busy = sum(seen.busy_seconds(self._cores))
        self._server = seen.cpu_seconds(seen.tree(server_pid))
        self._generator = time.process_time()
        self._start = time.perf_counter()

    def close(self, done: int) -> dict[str, Any]:
        seconds = time.perf_counter() - self._start
        generator = (time.process_time() - self._generator) / seconds
        server = (seen.cpu_seconds(seen.tree(self._server_pid)) - self._server) / seconds
        busy = (sum(seen.busy_seconds(self._cores)) - self._busy) / seconds
        other = max(0.0, busy - server - generator)
        return {
            "seconds": seconds,
            "done": done,
            "per_second": done / seconds,
            "per_server_second": done / seconds / server if server else None,
            "server_cpu": server,
            "generator_cpu": generator,
            "other_cpu": other,
            "saturated": generator >= SATURATED > server,
            "disturbed": other > DISTURBED,
        }


def measure_window(server_pid: int, run: Callable[[], list[int]], attempts: int) -> dict[str, Any]:
    """Run until a window is undisturbed, or keep the least disturbed of so many.

    ``run`` exchanges for as long as a window lasts and returns the latencies in nanoseconds. Beside
    their rate and percentiles, the answer has the CPU shares of server and generator, in cores;
    ``other_cpu``, what everything else took of the cores of the two, this machine's hypervisor
    included; ``disturbed``, whether that was too much; ``saturated``, whether the generator's core
    was used up and the server's was not, so that the server could have done more; and
    ``per_server_second``, the rate over the server's share of its core.
    """
    best: dict[str, Any] = {}
    for _ in range(attempts):
        window = _Window(server_pid)
        latencies = run()
        figures = window.close(len(latencies))
        if not best or figures["other_cpu"] < best["other_cpu"]:
            best = figures | summarise(latencies)
        if not best["disturbed"]:
            break
    return best
