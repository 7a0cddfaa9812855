"""`greensock compare`: one handler under several mixins, side by side, under load."""

from __future__ import annotations

import argparse
import sys
from importlib.util import find_spec
from typing import Any

from greensock.arguments.usage import UsageError
from greensock.compare.planning.options import add_options, understand
from greensock.net import open_files

EXTRA = 'greensock compare needs the extra "loadtest": pip install greensock[loadtest]'


def add_parser(subparsers: Any) -> None:
    """Add the command to `greensock`'s parser."""
    parser = subparsers.add_parser(
        "compare",
        help="serve one handler under each mixin, load it with locust, show the differences",
        description="Serves TARGET under each mixin in turn, holds idle clients, loads it with "
        "locust, and prints one table. Options may also stand in [tool.greensock.compare] of "
        "./pyproject.toml.",
    )
    add_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command; its exit status.

    Raises:
        UsageError: an option is wrong, or the extra "loadtest" is not installed.
    """
    # Found, not imported: importing locust would monkey-patch this process.
    if any(find_spec(name) is None for name in ("locust", "rich")):
        raise UsageError(EXTRA)
    # Only now: these need what was looked for above.
    from greensock.compare import command

    open_files.raise_limit()
    plan, output = understand(args, open_files.limit() or sys.maxsize)
    if output.draws() and find_spec("matplotlib") is None:
        raise UsageError(f"{EXTRA} (or give --no-plots)")
    return command.run(plan, output)
