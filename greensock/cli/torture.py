"""`greensock torture ADDRESS`: bad clients against a server, and a verdict for each kind."""

from __future__ import annotations

import argparse
import codecs
import dataclasses
import fnmatch
import math
import os
import re
import shlex
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import greensock
from greensock.arguments.usage import UsageError
from greensock.net import open_files
from greensock.processes.seen import ServerView
from greensock.torture import report
from greensock.torture.case import Case
from greensock.torture.cases import BY_NAME, CASES
from greensock.torture.exchange import Exchange, HttpGet, LineEcho, Pattern
from greensock.torture.server_process import NotStarted
from greensock.torture.settings import FULL, QUICK, Settings
from greensock.torture.suite import NotAnswering, Torture
from greensock.torture.target import Target
from greensock.torture.verdicts import Finding, Verdict

_DESCRIPTION = """\
Try bad clients on a server, greensock's or not, while a good client asks it all the time.

ADDRESS is host:port, tcp://host:port, tls://host:port, udp://host:port or unix:PATH. A good
client sends a line and is answered with the same line, unless --http, or --send and --expect say
otherwise. Every case is bounded in count and time.

Exit status: 0 if no case failed, 1 if one did, 2 for a mistake."""


def add_parser(subparsers: Any) -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "torture",
        help="try bad clients on a server, any server",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("address", metavar="ADDRESS", nargs="?")
    parser.add_argument(
        "--http",
        metavar="PATH",
        nargs="?",
        const="/",
        help="a good client GETs PATH (default: /) and gets a status below 500",
    )
    parser.add_argument(
        "--send", metavar="TEXT", help=r"what a good client sends; \r, \n and \xNN are understood"
    )
    parser.add_argument(
        "--expect",
        metavar="REGEX",
        help=r"what the whole answer to --send matches (default: one line, [^\n]*\n)",
    )
    parser.add_argument(
        "--pid",
        type=int,
        metavar="PID",
        help="the server's process on this machine: its CPU time, memory, descriptors, threads "
        "and children are judged as well",
    )
    parser.add_argument(
        "--command",
        metavar="COMMAND",
        help="start the server with this, anew for each case, and stop it; with port 0 in ADDRESS, "
        "it must print `listening on ADDRESS`",
    )
    _add_amounts(parser)
    parser.add_argument(
        "--only", metavar="CASE[,..]", help="cases or families, shell patterns allowed"
    )
    parser.add_argument("--list", action="store_true", help="say what the cases are, and end")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all that was found there")
    parser.add_argument(
        "--remote",
        action="store_true",
        help="ADDRESS is not on this machine, and I may do this to whoever is there",
    )
    parser.set_defaults(run=run)


def _add_amounts(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--quick", action="store_true", help="fewer and shorter of everything")
    for name, kind, meaning in (
        ("clients", int, "bad clients at once"),
        ("burst", int, "clients who connect at once in the case burst"),
        ("hold", float, "seconds that bad clients stay"),
        ("patience", float, "seconds after which an answer is lost"),
        ("p99", float, "seconds that 99 of 100 answers to others may take at most"),
    ):
        parser.add_argument(
            f"--{name}",
            type=kind,
            metavar="N" if kind is int else "SECONDS",
            help=f"{meaning} (default: {getattr(FULL, name):g})",
        )


def run(args: argparse.Namespace) -> int:
    """Run the cases; return the exit status."""
    cases = _cases(args.only)
    if args.list:
        print(report.listing(cases))
        return 0
    if args.address is None:
        raise UsageError("ADDRESS is missing: the server to torture")
    target = _target(args)
    settings = _settings(args)
    exchange = _exchange(args, target)
    if args.pid is not None:
        _check_pid(args)
    _check_command(args.command)
    open_files.raise_limit()
    torture = Torture(args.address, exchange, settings, args.pid, args.command)
    findings: list[Finding] = []
    interrupted = _run_cases(torture, cases, findings)
    print(report.table(findings, shutil.get_terminal_size((120, 24)).columns))
    if args.json is not None:
        about = {"version": greensock.__version__, "server": args.command or str(target)}
        try:
            report.write_json(args.json, report.as_json(findings, about, settings, interrupted))
        except OSError as error:
            raise UsageError(f"--json: {error.filename}: {error.strerror}") from error
    if interrupted:
        return 130
    return int(any(finding.verdict is Verdict.FAIL for finding in findings))


def _run_cases(torture: Torture, cases: list[Case], findings: list[Finding]) -> bool:
    """Run the cases, adding to `findings`; whether that was interrupted."""
    # A server that was started here is stopped on every way out.
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    switch_interval = sys.getswitchinterval()
    # A probe that waits for a flooding thread's turn to end would measure this process.
    sys.setswitchinterval(0.0005)
    try:
        for finding in torture.run(cases):
            # In this order: who is told of a case and then interrupts finds it in the table.
            findings.append(finding)
            _tell(finding)
    except KeyboardInterrupt:
        print("interrupted; what was found so far:", file=sys.stderr)
        return True
    except (NotAnswering, NotStarted) as error:
        raise UsageError(str(error)) from error
    finally:
        sys.setswitchinterval(switch_interval)
        signal.signal(signal.SIGTERM, previous)
    return False


def _tell(finding: Finding) -> None:
    if finding.verdict is not Verdict.NOT_APPLICABLE:
        print(f"{finding.case}: {finding.verdict.value}", file=sys.stderr, flush=True)


def _cases(patterns: str | None) -> list[Case]:
    if patterns is None:
        return list(CASES)
    chosen: set[str] = set()
    for pattern in patterns.split(","):
        found = {
            case.name
            for case in CASES
            if fnmatch.fnmatch(case.name, pattern) or fnmatch.fnmatch(case.family, pattern)
        }
        if not found:
            raise UsageError(f"--only: a case must be one of {', '.join(BY_NAME)}, not {pattern!r}")
        chosen |= found
    return [case for case in CASES if case.name in chosen]


def _target(args: argparse.Namespace) -> Target:
    try:
        target = Target(args.address)
    except ValueError as error:
        raise UsageError(str(error)) from error
    if not target.is_local and not args.remote:
        raise UsageError(
            f"{target} is not on this machine; --remote says that you may do this to it"
        )
    return target


def _settings(args: argparse.Namespace) -> Settings:
    given = {
        name: value
        for name in ("clients", "burst", "hold", "patience", "p99")
        if (value := getattr(args, name)) is not None
    }
    for name, value in given.items():
        if not 0 < value < math.inf:
            raise UsageError(f"--{name} must be more than 0, not {value:g}")
    return dataclasses.replace(QUICK if args.quick else FULL, **given)


def _exchange(args: argparse.Namespace, target: Target) -> Exchange:
    if args.http is not None:
        if args.send is not None or args.expect is not None:
            raise UsageError("--http goes without --send and --expect")
        return HttpGet(args.http, target.address.host if not target.is_unix else "localhost")
    if args.send is None:
        if args.expect is not None:
            raise UsageError("--expect needs --send: what to send")
        return LineEcho()
    expected = args.expect if args.expect is not None else r"[^\n]*\n"
    try:
        return Pattern(codecs.escape_decode(os.fsencode(args.send))[0], os.fsencode(expected))
    except (ValueError, re.error) as error:
        raise UsageError(f"--send or --expect: {error}") from error


def _check_command(command: str | None) -> None:
    if command is None:
        return
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise UsageError(f"--command: {error}") from error
    if not words:
        raise UsageError("--command must be what starts the server, not nothing")


def _check_pid(args: argparse.Namespace) -> None:
    if args.command is not None:
        raise UsageError("--pid goes without --command, which knows its process")
    try:
        ServerView(args.pid)
    except ProcessLookupError as error:
        raise UsageError(f"--pid: {error}") from error
    except PermissionError:
        raise UsageError(f"--pid: process {args.pid} is another user's") from None
