"""More clients than the server may open files."""

from __future__ import annotations

import time
from typing import Any

from greensock.torture.bench import Bench
from greensock.torture.exchange import Lost, ask
from greensock.torture.server_process import wait_until_answering
from greensock.torture.verdicts import NotApplicable

#: How many more clients come than the server can take in.
_SURPLUS = 40
#: Lines that a server may write to its log about it. A line a second is a warning, a line a try is
#: a full disk.
_MOST_LINES = 100


def out_of_files(bench: Bench) -> None:
    """More clients come than the server may open files.

    Passes if it does not spin, still answers who is connected already, does not fill its log, and
    serves new clients again within two seconds once the others have gone. Needs a server with a low
    limit: --command starts it with one; else --pid shows that it has one.
    """
    limit = _limit(bench)
    bench.rest_probe()
    keeper = _good_client(bench)
    socks = _fill(bench, limit)
    bench.hold(bench.settings.hold)
    bench.judge_spin("out of files")
    bench.rest_probe()
    try:
        ask(keeper, bench.exchange, 2, bench.settings.patience)
    except Lost as lost:
        bench.fault(f"a client connected before is not served any more: {lost}")
    lines = 0
    if bench.process is not None:
        lines = len(bench.process.errors().splitlines())
        if lines > _MOST_LINES:
            bench.fault(f"{lines} lines in its log")
    bench.close_clients()
    began = time.monotonic()
    complaint = wait_until_answering(bench.target, bench.exchange, bench.settings.recovery)
    seconds = time.monotonic() - began
    if complaint is not None:
        bench.fault(f"not serving again {bench.settings.recovery:g} s after: {complaint}")
    bench.figures["recovered after"] = round(seconds, 3)
    # What the probe lost meanwhile is not held against the server: there was no room for it.
    bench.heard()
    bench.wake_probe()
    bench.note(
        f"limit {limit}, {len(socks)} clients, {lines} log lines, serving again after "
        f"{seconds:.2f} s"
    )


def _limit(bench: Bench) -> int:
    if bench.view is None:
        raise NotApplicable("needs --command, or --pid of a server with a low limit of open files")
    limit = bench.view.open_files_limit()
    if limit > max(1024, 2 * bench.settings.few_files):
        raise NotApplicable(
            f"the server may open {limit} files; start it with fewer (ulimit -n 128), or by "
            "--command"
        )
    return limit


def _good_client(bench: Bench) -> Any:
    sock = bench.client()
    try:
        ask(sock, bench.exchange, 1, bench.settings.patience)
    except Lost as lost:
        raise NotApplicable(f"not even the first client was served: {lost}") from None
    return sock


def _fill(bench: Bench, limit: int) -> list[Any]:
    """Connect until the server has nothing left; those whom the kernel's queue takes too."""
    socks: list[Any] = []
    deadline = time.monotonic() + bench.settings.big_wait
    while len(socks) < limit + _SURPLUS:
        try:
            sock = bench.target.connect_raw(bench.settings.patience, bench.source())
        except TimeoutError:
            # The queue is full. A short one may be so before the server has taken all it can.
            if _has_run_out(bench, limit) or time.monotonic() >= deadline:
                break
            continue
        except OSError:
            break
        bench.stack.callback(sock.close)
        socks.append(sock)
    return socks


def _has_run_out(bench: Bench, limit: int) -> bool:
    return bench.view is None or bench.view.holdings().descriptors >= limit
