"""``python -m loadtests.torture_peers``: `greensock torture` on greensock and on its peers.

Each server echoes lines as its users would write it (see `loadtests.peers.contenders`), is started
anew for each case, and is judged by its own process as well. Prints one table, a row for each case
and a column for each server, and below it why which server failed.
"""

from __future__ import annotations

import argparse
import datetime
import fnmatch
import json
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from greensock.arguments.usage import OneLineParser
from greensock.net import open_files
from greensock.torture.cases import BY_NAME, CASES
from greensock.torture.exchange import LineEcho
from greensock.torture.server_process import NotStarted
from greensock.torture.settings import FULL, QUICK, Settings
from greensock.torture.suite import NotAnswering, Torture
from loadtests.peers import machine
from loadtests.peers.catalogue import BY_NAME as CONTENDERS

_GREENSOCK = f"{sys.executable} -m greensock serve"
_MIXINS = ("greenlet", "threading", "forking", "none")

#: What the column of a server is called, by its name here.
Findings = dict[str, dict[str, dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class Server:
    """A server to try: its command, and where it will listen."""

    name: str
    command: str
    does: str
    scheme: str = "tcp"


def _greensock(mixin: str) -> Server:
    # Children as for the standard library's forks: more than there are bad clients at once.
    more = " --set max_children=2000" if mixin == "forking" else ""
    return Server(
        f"greensock {mixin}",
        f"{_GREENSOCK} greensock.examples:Echo --bind 127.0.0.1:0 --mixin {mixin}{more}",
        f"greensock serve greensock.examples:Echo --mixin {mixin}{more}",
    )


def _peer(name: str, contender: str, scheme: str = "tcp") -> Server:
    found = CONTENDERS[contender]
    command = f"{sys.executable} -m loadtests.peers.contenders.{found.module} {found.variant}"
    return Server(name, command, found.does, scheme)


SERVERS = (
    *map(_greensock, _MIXINS),
    _peer("socketserver threads", "socketserver-threads"),
    _peer("socketserver forks", "socketserver-forks"),
    _peer("gevent", "gevent-lines"),
    _peer("asyncio", "asyncio-streams"),
    *(_peer(f"greensock {mixin}, UDP", f"greensock-udp-{mixin}", "udp") for mixin in _MIXINS),
    _peer("socketserver threads, UDP", "socketserver-udp-threads", "udp"),
    _peer("gevent, UDP", "gevent-udp", "udp"),
    _peer("asyncio, UDP", "asyncio-udp", "udp"),
)


def findings(server: Server, names: list[str], settings: Settings) -> dict[str, dict[str, Any]]:
    """What came of the cases, by name.

    Raises:
        NotStarted, NotAnswering: the server cannot be tried at all.
    """
    cases = [
        case
        for case in CASES
        if case.name in names and case.datagrams == (server.scheme == "udp") and not case.tls
    ]
    torture = Torture(
        f"{server.scheme}://127.0.0.1:0", LineEcho(), settings, command=server.command
    )
    return {found.case: found.as_json() for found in torture.run(cases)}


def markdown(results: Findings) -> Iterator[str]:
    """The lines of a table for streams, one for datagrams, and of why who failed."""
    for datagrams in (False, True):
        rows = [case.name for case in CASES if case.datagrams is datagrams]
        servers = [name for name, found in results.items() if set(rows) & set(found)]
        if not servers:
            continue
        yield f"| | {' | '.join(servers)} |"
        yield f"|---|{'---|' * len(servers)}"
        for row in rows:
            if any(row in results[name] for name in servers):
                cells = (results[name].get(row, {}).get("verdict", "") for name in servers)
                yield f"| {row} | {' | '.join(_emphasised(cell) for cell in cells)} |"
        yield ""
    for name, found in results.items():
        for case, finding in found.items():
            if finding["verdict"] == "fail":
                yield f"- {name}, {case}: {finding['why']}"


def _emphasised(verdict: str) -> str:
    return "**fail**" if verdict == "fail" else verdict


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        prog="python -m loadtests.torture_peers", description="Torture greensock and its peers."
    )
    parser.add_argument(
        "--servers", metavar="NAME[,..]", help="patterns allowed (default: all, or none with --add)"
    )
    parser.add_argument("--only", metavar="CASE[,..]", help="patterns allowed")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter of everything")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all that was found there")
    parser.add_argument(
        "--add",
        type=Path,
        metavar="FILE",
        action="append",
        default=[],
        help="show what an earlier run with --json found as well; may be repeated",
    )
    parser.add_argument("--list", action="store_true", help="say what each server does, and end")
    return parser


def _matching(parser: argparse.ArgumentParser, patterns: str | None, names: list[str]) -> list[str]:
    found = set()
    for pattern in (patterns or "*").split(","):
        matches = fnmatch.filter(names, pattern)
        if not matches:
            parser.error(f"{pattern!r} is none of: {', '.join(names)}")
        found.update(matches)
    return [name for name in names if name in found]


def main(argv: list[str] | None = None) -> int:
    """Try the servers; 1 if greensock failed or one could not be tried, else 0."""
    parser = _parser()
    argv = sys.argv[1:] if argv is None else argv
    options = parser.parse_args(argv)
    every = [server.name for server in SERVERS]
    shown_only = options.add and not options.servers
    chosen = [] if shown_only else _matching(parser, options.servers, every)
    cases = _matching(parser, options.only, list(BY_NAME))
    if options.list:
        for server in SERVERS:
            print(f"{server.name}: {server.does}")
        return 0
    settings = QUICK if options.quick else FULL
    open_files.raise_limit()
    # A probe that waits for a flooding thread's turn to end would measure this process.
    sys.setswitchinterval(0.0005)
    results: Findings = {}
    for path in options.add:
        results |= json.loads(path.read_text())["servers"]
    broken = False
    for server in SERVERS:
        if server.name in chosen:
            print(f"{server.name} ...", file=sys.stderr, flush=True)
            try:
                results[server.name] = findings(server, cases, settings)
            except (NotStarted, NotAnswering) as error:
                print(f"{server.name}: {error}", file=sys.stderr)
                broken = True
    head = machine.stamp() | {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "command": shlex.join(["python", "-m", "loadtests.torture_peers", *argv]),
    }
    print(f"{head['date']}, {head['machine']}")
    print("\n".join(markdown(results)))
    if options.json:
        options.json.write_text(json.dumps(head | {"servers": results}, indent=1) + "\n")
    return int(broken or _greensock_failed(results))


def _greensock_failed(results: Findings) -> bool:
    return any(
        finding["verdict"] == "fail"
        for name, found in results.items()
        if name.startswith("greensock")
        for finding in found.values()
    )


if __name__ == "__main__":
    sys.exit(main())
