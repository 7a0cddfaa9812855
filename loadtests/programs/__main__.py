"""Measures the programs: bytes per idle client on the standard library and on greensock.

python -m loadtests.programs [--clients 300] [--only NAME,NAME] [--json FILE]
"""

import argparse
import contextlib
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from loadtests.peers.machine import stamp
from loadtests.programs.catalogue import PROGRAMS, Program
from loadtests.programs.running import GREENSOCK, STDLIB, Failed, Run, ask

#: How each is started, by the name of the column.
WAYS: dict[str, tuple[str, ...]] = {"socketserver": STDLIB, "greensock": GREENSOCK}

Row = dict[str, Any]


def measure(program: Program, clients: int) -> Row:
    """What an idle client costs on either, and whether both answer the same beside them."""
    row: Row = {"program": program.name, "version": program.version(), "shows": program.shows}
    answers = []
    for way, how in WAYS.items():
        with Run(program, how) as run:
            run.wait_ready()
            # The first clients cost what is imported or allocated once.
            [first] = ask(program, run)
            answers.append(first)
            if program.one_at_a_time and how is STDLIB:
                row[way] = None
                continue
            with contextlib.suppress(OSError), run.idle_clients(5):
                pass
            before = run.memory()
            with run.idle_clients(clients):
                row[way] = round((run.memory() - before) / clients)
                answers += ask(program, run)
    row["passes"] = all(each == answers[0] for each in answers) and bool(answers[0])
    return row


def table(rows: Sequence[Row]) -> str:
    """The rows as Markdown."""
    lines = [
        "| program | version | passes | bytes per idle client: socketserver | greensock |",
        "|---|---|---|---:|---:|",
    ]
    for row in rows:
        figures = ["-" if row[way] is None else f"{row[way]:,}" for way in WAYS]
        passes = "yes" if row["passes"] else "no"
        lines.append(f"| {row['program']} | {row['version']} | {passes} | {' | '.join(figures)} |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=300, help="idle clients of each")
    parser.add_argument("--only", default="", help="programs whose names contain one of these")
    parser.add_argument("--json", metavar="FILE", help="the rows as data")
    options = parser.parse_args()
    wanted = [name for name in options.only.split(",") if name]
    rows, failed = [], 0
    began = time.time()
    for program in PROGRAMS:
        if wanted and not any(name in program.name for name in wanted):
            continue
        if missing := program.missing():
            print(f"{program.name}: not installed: {', '.join(missing)}", file=sys.stderr)
            continue
        try:
            rows.append(measure(program, options.clients))
        except Failed as error:
            failed += 1
            print(f"{program.name}: {error}", file=sys.stderr)
    print(table(rows))
    if options.json:
        data = {"machine": stamp(), "seconds": round(time.time() - began), "rows": rows}
        Path(options.json).write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    return 1 if failed or not all(row["passes"] for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
