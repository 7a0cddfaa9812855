"""`greensock top ADDRESS|PID`: a live table of a server's clients."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import select
import shutil
import sys
import termios
import time
import tty
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from greensock.arguments.usage import UsageError
from greensock.control import asking, table
from greensock.control.asking import Snapshot
from greensock.control.place import NoControl

_DESCRIPTION = """\
Show the clients of a server that was started with `greensock serve --control` or `greensock run
--control`, or that opened greensock.control.answering.control_socket(): their state, for how long
they have been silent, how much they have sent and received, and the line that their handler is at.

On a terminal the table is live; keys: p peer, s state, i idle, r received, t sent, w where sort it,
space stands still, q ends. Elsewhere it is written once."""

_KEYS = {"p": "peer", "s": "state", "i": "idle", "r": "received", "t": "sent", "w": "where"}

_CLEAR = "\x1b[H\x1b[J"
_OTHER_SCREEN, _OWN_SCREEN = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
_BOLD, _PLAIN = "\x1b[1m", "\x1b[0m"

#: However many clients there are, the server spends no more than a twentieth of its time on this.
_TIMES_OF_AN_ANSWER = 20


def add_parser(subparsers: Any) -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "top",
        help="show a running server's clients, live",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "server", metavar="ADDRESS|PID", help="host:port, unix:PATH, or the server's process"
    )
    parser.add_argument(
        "--sort", choices=table.SORTS, default="state", help="by which column (default: state)"
    )
    parser.add_argument(
        "--interval",
        type=float,
        default=2.0,
        metavar="SECONDS",
        help="between two looks, at least (default: 2)",
    )
    parser.add_argument(
        "--once", action="store_true", help="write the table once, on a terminal too"
    )
    parser.add_argument("--json", action="store_true", help="write everything once, as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Show the clients; return the exit status."""
    if not args.interval > 0:
        raise UsageError(f"--interval must be more than 0, not {args.interval:g}")
    try:
        path = asking.find(args.server)
        if args.json:
            print(_as_json(asking.ask(path)))
        elif args.once or not (sys.stdout.isatty() and sys.stdin.isatty()):
            print(_page(asking.ask(path), args.sort, None, None))
        else:
            _live(path, args.sort, args.interval)
    except (NoControl, ValueError) as error:
        raise UsageError(str(error)) from error
    except BrokenPipeError:
        # Whoever read it has seen enough; nothing is left for the interpreter to flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _as_json(snapshot: Snapshot) -> str:
    clients = [row._asdict() for row in snapshot.rows]
    return json.dumps({**snapshot.about, "clients": clients}, indent=1)


def _page(snapshot: Snapshot, by: str, width: int | None, height: int | None) -> str:
    head = [line[:width] for line in table.headline(snapshot.about).split("\n")]
    lines = table.lines(table.sort(snapshot.rows, by), width)
    room = None if height is None else max(1, height - len(head) - 1)
    shown = lines[:room]
    if room is not None and len(lines) > room:
        shown[-1] = f"... and {len(lines) - room + 1} more"[:width]
    return "\n".join([*head, *shown])


def _live(path: Path, by: str, interval: float) -> None:
    with _keys_at_once():
        snapshot, took = _timed_ask(path)
        stands_still = False
        while True:
            columns, rows = shutil.get_terminal_size()
            sys.stdout.write(_CLEAR + _marked(_page(snapshot, by, columns, rows), by))
            sys.stdout.flush()
            key = _key_within(max(interval, _TIMES_OF_AN_ANSWER * took))
            if key == "q":
                return
            by = _KEYS.get(key, by)
            stands_still ^= key == " "
            if not key and not stands_still:
                snapshot, took = _timed_ask(path)


def _marked(page: str, by: str) -> str:
    """The page with the column in bold that it is sorted by."""
    lines = page.split("\n")
    if len(lines) > 2:
        lines[2] = lines[2].replace(by.upper(), f"{_BOLD}{by.upper()}{_PLAIN}", 1)
    return "\r\n".join(lines)


def _timed_ask(path: Path) -> tuple[Snapshot, float]:
    began = time.monotonic()
    return asking.ask(path), time.monotonic() - began


def _key_within(seconds: float) -> str:
    """The key that was pressed, or an empty string."""
    readable, _, _ = select.select([sys.stdin], [], [], seconds)
    return os.read(sys.stdin.fileno(), 1).decode(errors="replace") if readable else ""


@contextlib.contextmanager
def _keys_at_once() -> Iterator[None]:
    """The terminal gives each key as it is pressed, and gets its screen back afterwards."""
    fd = sys.stdin.fileno()
    before = termios.tcgetattr(fd)
    tty.setcbreak(fd)
    sys.stdout.write(_OTHER_SCREEN)
    try:
        yield
    finally:
        sys.stdout.write(_OWN_SCREEN)
        sys.stdout.flush()
        termios.tcsetattr(fd, termios.TCSADRAIN, before)
