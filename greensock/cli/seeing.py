"""What `greensock serve` shows of its server: a control socket, metrics, and SIGUSR1's table."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from types import FrameType
from typing import Any

from greensock.cli.usage import UsageError
from greensock.control import table
from greensock.control.answering import control_socket, describe
from greensock.control.place import NoControl
from greensock.control.rows import rows_of
from greensock.net import addresses

EXTRA = '--metrics needs the extra "metrics": pip install greensock[metrics]'


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options to the parser of `greensock serve`."""
    parser.add_argument(
        "--control",
        action="store_true",
        help="answer `greensock top` of the same user on a Unix socket in a private folder",
    )
    parser.add_argument(
        "--metrics",
        metavar="ADDRESS",
        help='answer Prometheus over HTTP on host:port (needs the extra "metrics")',
    )


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
            _serve_metrics(stack, server, args.metrics)
        yield


def _serve_metrics(stack: contextlib.ExitStack, server: Any, text: str) -> None:
    try:
        address = addresses.parse(text)
    except ValueError as error:
        raise UsageError(f"--metrics: {error}") from error
    if address.scheme != "tcp":
        raise UsageError(f"--metrics: address must be host:port, not {text!r}")
    if find_spec("prometheus_client") is None:
        raise UsageError(EXTRA)
    # Only now: it needs what was looked for above.
    from greensock.metrics import metrics_served

    try:
        host, port = stack.enter_context(metrics_served(server, address.sockaddr, address.family))[
            :2
        ]
    except OSError as error:
        reason = error.strerror or error
        raise UsageError(f"--metrics: cannot listen on {address}: {reason}") from error
    bound = addresses.Address("tcp", host, port)
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
