"""``python -m loadtests.peers``: the command line of the benchmark."""

import argparse
import dataclasses
import datetime
import json
import os
import shlex
import sys
from pathlib import Path
from typing import Any

from rich.console import Console

from greensock.arguments.usage import OneLineParser
from greensock.net import open_files

from . import benchmark, machine, measures, report
from .catalogue import select
from .requirements import REQUIREMENTS, judge
from .results import Results


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        prog="python -m loadtests.peers",
        description="Measure greensock beside its peers: servers on one core, the load on another.",
    )
    parser.add_argument("--quick", action="store_true", help="a coarse look, under two minutes")
    parser.add_argument("--only", metavar="MEASURE[,..]", help=f"of {', '.join(measures.BY_NAME)}")
    parser.add_argument(
        "--contenders",
        metavar="NAME[,..]",
        help="names or shell patterns, such as 'greensock-*,epoll'",
    )
    parser.add_argument("--rounds", type=int, metavar="N", help="how often each is measured")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure there")
    parser.add_argument("--plots", type=Path, metavar="DIR", help="draw the plots there")
    parser.add_argument("--list", action="store_true", help="say what each contender does, and end")
    return parser


def _choices(parser: argparse.ArgumentParser, options: argparse.Namespace) -> tuple[Any, ...]:
    """The measures, contenders and scale asked for; ends with status 2 if there are none such."""
    chosen = list(measures.ALL)
    if options.only:
        names = options.only.split(",")
        for name in names:
            if name not in measures.BY_NAME:
                parser.error(
                    f"a measure must be one of {', '.join(measures.BY_NAME)}, not {name!r}"
                )
        chosen = [measure for measure in measures.ALL if measure.name in names]
    try:
        contenders = select(options.contenders.split(",") if options.contenders else None)
    except ValueError as error:
        parser.error(str(error))
    scale = measures.QUICK if options.quick else measures.FULL
    if options.rounds is not None:
        if options.rounds < 1:
            parser.error(f"--rounds must be a positive integer, not {options.rounds}")
        scale = dataclasses.replace(scale, rounds=options.rounds)
    if options.contenders:
        # Whoever names contenders wants them in every measure they fit, quick or not.
        scale = dataclasses.replace(scale, everyone=True)
    return chosen, contenders, scale


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark; 1 if a contender could not be measured, else 0."""
    parser = _parser()
    argv = sys.argv[1:] if argv is None else argv
    options = parser.parse_args(argv)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 150)
    chosen, contenders, scale = _choices(parser, options)
    if options.list:
        for contender in contenders:
            console.print(f"{contender.name}: {contender.does}", markup=False)
        return 0
    cores = machine.Cores.available()
    head = machine.stamp() | {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "command": shlex.join(["python", "-m", "loadtests.peers", *argv]),
        "scale": dataclasses.asdict(scale),
        "server_core": cores.server,
        "load_core": cores.load,
        "contenders": {contender.name: contender.does for contender in contenders},
    }
    if cores.server == cores.load:
        print("warning: one core only; server and load share it", file=sys.stderr)
    # As from an installed package: compiled at each start, greensock would take twice as long to
    # import, and leave 1.3 MB of garbage for each of its children to copy.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    open_files.raise_limit()
    results = Results(head)

    def tell(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    try:
        benchmark.run(results, chosen, contenders, scale, cores, tell)
    except KeyboardInterrupt:
        tell("interrupted; what was measured so far:")
    measured = {measure.name for measure in chosen}
    verdicts = [judge(one, results) for one in REQUIREMENTS if one.measure in measured]
    report.print_report(results, verdicts, console)
    if options.json:
        document = results.as_json() | {"requirements": [verdict.as_json() for verdict in verdicts]}
        options.json.write_text(json.dumps(document, indent=1) + "\n")
    if options.plots:
        from .plots import draw  # matplotlib is needed only for this

        for path in draw(results, options.plots):
            tell(f"drawn: {path}")
    return 1 if results.reasons else 0


if __name__ == "__main__":
    sys.exit(main())
