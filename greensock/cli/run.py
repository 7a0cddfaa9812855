"""`greensock run PROGRAM`: a program on socketserver, unchanged, on greensock."""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import sys
import threading
from typing import Any

from greensock.arguments.targets import parse_setting
from greensock.arguments.usage import UsageError
from greensock.cli.programs import seeing_options
from greensock.cli.programs.main_program import Program
from greensock.hub.lifetime import print_no_interrupts
from greensock.hub.signals.handlers import wait_for_handlers
from greensock.net import open_files
from greensock.patch import Patch, UnknownSetting, patch_socketserver
from greensock.patch.check import describe
from greensock.patch.early_users import in_words
from greensock.patch.replacement import THREADING_MIXINS, Replacement
from greensock.servers.base import BaseServer

_DESCRIPTION = """\
Run a program that is built on socketserver, http.server, xmlrpc.server, wsgiref or anything else
on top of them, unchanged, with greensock in place of socketserver. Before anything of the program
is imported, gevent.monkey.patch_all() is called.

PROGRAM is script.py, a folder or archive with a __main__.py, -m module, or -c code, as for python.
What follows it are the program's own arguments."""

_WITH_VALUE = ("--mixin", "--set", "--metrics", "--graceful-timeout")


def add_parser(subparsers: Any) -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "run",
        help="run a program on socketserver, unchanged, on greensock",
        usage="greensock run [options] PROGRAM [arguments]",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--mixin",
        choices=list(THREADING_MIXINS),
        default="greenlet",
        help="what the program's ThreadingMixIn is: where its requests run (default: greenlet)",
    )
    parser.add_argument(
        "--no-monkey",
        action="store_true",
        help="leave the rest of the standard library as it is: for programs that block in "
        "nothing but their clients' sockets, or with --mixin threading in native threads",
    )
    parser.add_argument(
        "--set",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        dest="settings",
        help="a class attribute of every server or handler, such as max_greenlets=500, or of one "
        "class, such as Handler.timeout=60; may be repeated",
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="run the program up to its first server, say which classes it has and whose idle "
        "clients are parked, and serve nobody; exit status 1 if it is not on greensock",
    )
    seeing_options.add_options(parser)
    parser.add_argument(
        "--graceful-timeout",
        metavar="SECONDS",
        type=float,
        help="at the first SIGTERM or Ctrl-C let the clients of its servers finish, for so long at "
        "most, and then end (default: signals are the program's)",
    )
    parser.set_defaults(run=run)


def split(arguments: list[str]) -> tuple[list[str], Program | None]:
    """The options of `greensock run`, and the program that follows them."""
    index = 0
    while index < len(arguments):
        argument = arguments[index]
        rest = arguments[index + 1 :]
        if argument[:2] in ("-m", "-c"):
            kind, name = argument[:2], argument[2:]
            if not name and not rest:
                raise UsageError(f"{kind} needs {'a module' if kind == '-m' else 'code'}")
            name, rest = (name, rest) if name else (rest[0], rest[1:])
            return arguments[:index], Program(kind, name, tuple(rest))
        if argument == "--":
            return split_after(arguments[:index], rest)
        if not argument.startswith("-"):
            return split_after(arguments[:index], arguments[index:])
        index += 2 if argument in _WITH_VALUE else 1
    return arguments, None


def split_after(options: list[str], rest: list[str]) -> tuple[list[str], Program | None]:
    return options, Program("file", rest[0], tuple(rest[1:])) if rest else None


def run(args: argparse.Namespace) -> int:
    """Run the program; return its exit status.

    Raises:
        UsageError: there is no such program, or a setting of that name.
        SystemExit, KeyboardInterrupt: the program's.
    """
    program: Program | None = args.program
    if program is None:
        raise UsageError("run needs a PROGRAM: script.py, -m module or -c code")
    _refuse_without_effect(args)
    settings = dict(parse_setting(text) for text in args.settings)
    open_files.raise_limit()
    try:
        patch = patch_socketserver(args.mixin, monkey=not args.no_monkey, **settings)
    except (UnknownSetting, TypeError) as error:
        raise UsageError(f"--set: {error}") from error
    print_no_interrupts()
    if args.check:
        return _check(program, patch)
    _see_to_servers(args)
    try:
        try:
            return program.run()
        finally:
            wait_for_handlers()
    except UnknownSetting as error:
        raise UsageError(f"--set: {error}") from error
    finally:
        for name in patch.settings.unmet():
            print(f"greensock: --set: the program has no class {name}", file=sys.stderr)


def _refuse_without_effect(args: argparse.Namespace) -> None:
    timeout = args.graceful_timeout
    if timeout is not None and not 0 <= timeout < math.inf:
        raise UsageError(f"--graceful-timeout must be seconds, 0 or more, not {timeout:g}")
    for name in ("control", "metrics", "graceful_timeout"):
        if args.check and getattr(args, name) not in (None, False):
            raise UsageError(f"--check serves nobody: leave out --{name.replace('_', '-')}")


def _see_to_servers(args: argparse.Namespace) -> None:
    """Do to the program's servers what the options say."""
    if not args.control and args.metrics is None and args.graceful_timeout is None:
        return
    # Only now: what it imports, a program that is run without it would find imported already.
    from greensock.cli.programs.program_servers import ProgramServers

    ProgramServers(args.control, args.metrics, args.graceful_timeout).watch()


def _check(program: Program, patch: Patch) -> int:
    """Run the program up to its first server, and say what it is made of."""
    module = patch.module
    if module is None:
        print(f"on the standard library's socketserver already: {in_words(patch.early_users)}")
        return 1
    _stop_at_first_server(module)
    status = program.run()
    _say(module)
    return status


def _stop_at_first_server(module: Replacement) -> None:
    """Have every server of this process, the program's or greensock's own, end it at once."""

    def end(server: Any, poll_interval: float = 0.5) -> None:
        _say(module, server)
        if threading.current_thread() is threading.main_thread():
            raise SystemExit(0)
        # Raised in another thread, or greenlet, it would end that one only.
        os._exit(0)

    for name in ("serve_forever", "handle_request"):
        setattr(BaseServer, name, end)


def _say(module: Replacement, server: Any = None) -> None:
    # Whoever reads only the first lines of it has closed the pipe.
    with contextlib.suppress(BrokenPipeError):
        print("\n".join(describe(module, server)), flush=True)
