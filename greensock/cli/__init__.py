"""The command line: `greensock` and `python -m greensock`."""

from __future__ import annotations

import argparse
import sys
from typing import NoReturn

import greensock
from greensock.arguments.usage import UsageError
from greensock.cli import run
from greensock.cli.programs.main_program import Program
from greensock.printable import printable


class _Parser(argparse.ArgumentParser):
    """One whose users are told their mistake in one line; --help has the rest."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{self.prog.removeprefix('greensock').strip()}: {message}".lstrip(": "))


def _parser(for_program: bool = False) -> argparse.ArgumentParser:
    parser = _Parser(
        prog="greensock",
        description="socketserver at the scale of idle clients: serve a handler, run a program, "
        "compare mixins, torture servers, watch their clients.",
    )
    parser.add_argument("--version", action="version", version=f"greensock {greensock.__version__}")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    run.add_parser(subparsers)
    if not for_program:
        # What these import, a program that is run here would find imported already.
        from greensock.cli import compare, serve, top, torture

        for command in (serve, compare, torture, top):
            command.add_parser(subparsers)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command in `argv` (None: the process's own); return its exit status.

    0: done; 2: a mistake in the command line, told in one line on standard error.
    """
    argv = sys.argv[1:] if argv is None else argv
    program: Program | None = None
    is_run = argv[:1] == ["run"]
    try:
        if is_run:
            options, program = run.split(argv[1:])
            argv = ["run", *options]
        args = _parser(is_run).parse_args(argv, argparse.Namespace(program=program))
        status: int = args.run(args)
    except UsageError as error:
        print(f"greensock: {printable(str(error))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        if is_run:
            raise
        return 130
    return status
