"""What `greensock serve` and `run` show of servers: control socket, metrics, SIGUSR1's table."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from types import FrameType
from typing import Any

from greensock.arguments.usage import UsageError
from greensock.control import table
from greensock.control.answering import control_socket, describe
from greensock.control.place import NoControl
from greensock.control.rows import rows_of
from greensock.net import addresses
from greensock.net.addresses import Address

EXTRA = '--metrics needs the extra "metrics": pip install greensock[metrics]'


@contextlib.contextmanager
def seen(server: Any, args: argparse.Namespace) -> Iterator[None]:
    """Show the server, as the options say, for as long as the block runs.

    Raises:
        UsageError: an option cannot be had.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(_table_on_signal(server))
        if args.control:
            try:
                stack.enter_context(control_socket(server))
            except (NoControl, OSError) as error:
                raise UsageError(f"--control: {error}") from error
        if args.metrics is not None:
            serve_metrics(stack, server, metrics_address(args.metrics))
        yield


def metrics_address(text: str) -> Address:
    """Where the option has Prometheus answered.

    Raises:
        UsageError: it cannot be had.
    """
    try:
        address = addresses.parse(text)
    except ValueError as error:
        raise UsageError(f"--metrics: {error}") from error
    if address.scheme != "tcp":
        raise UsageError(f"--metrics: address must be host:port, not {text!r}")
    if find_spec("prometheus_client") is None:
        raise UsageError(EXTRA)
    return address


def serve_metrics(
    stack: contextlib.ExitStack, server: Any, address: Address, registry: Any = None
) -> None:
    """Answer Prometheus about `server` until the stack is left; for the thread that serves.

    Args:
        registry: whose metrics are told; None: the server's alone.

    Raises:
        UsageError: it cannot listen there.
    """
    # Only now: it needs what `metrics_address` looks for.
    from greensock.metrics import metrics_served

    try:
        served = metrics_served(server, address.sockaddr, address.family, registry)
        host, port = stack.enter_context(served)[:2]
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"--metrics: cannot listen on {address}: {reason}") from error
    bound = Address("tcp", host, port)
    # Not on standard output: there the only line says where the server itself listens.
    print(f"metrics on http{str(bound).removeprefix('tcp')}/metrics", file=sys.stderr, flush=True)


@contextlib.contextmanager
def _table_on_signal(server: Any) -> Iterator[None]:
    """Write the table of clients to standard error at each SIGUSR1.

    At once, within the signal's handler: it is wanted most when a handler keeps the hub busy, and
    nothing that waits for the hub would run.
    """

    def write(signum: int, frame: FrameType | None) -> None:
        rows = table.sort(list(rows_of(server, frame)), "state")
        text = "\n".join([table.headline(describe(server)), *table.lines(rows)])
        print(text, file=sys.stderr, flush=True)

    previous = signal.signal(signal.SIGUSR1, write)
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, previous)
