"""The command line: `greensock` and `python -m greensock`."""

from __future__ import annotations

import argparse
import sys

import greensock
from greensock.cli import compare, serve
from greensock.cli.usage import UsageError


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="greensock",
        description="socketserver at the scale of idle clients: serve a handler, compare mixins.",
    )
    parser.add_argument("--version", action="version", version=f"greensock {greensock.__version__}")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in (serve, compare):
        command.add_parser(subparsers)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command in `argv` (None: the process's own); return its exit status.

    0: done; 2: a mistake in the command line, told in one line on standard error.
    """
    args = _parser().parse_args(argv)
    try:
        status: int = args.run(args)
    except UsageError as error:
        print(f"greensock: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return status
