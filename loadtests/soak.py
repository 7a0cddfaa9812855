"""``python -m loadtests.soak``: ten minutes of good clients, bad clients and faults, and a verdict.

One server of each kind (lines, a classic handler, HTTP, pushes, TLS, datagrams) runs under each
mixin for all of the time. Round after round another mixin's servers get their clients: who keep
their connection, come and go, are slow, send a lot, listen, resume their TLS session, say nothing
before their handshake. Meanwhile faults are injected: clients who reset, flood, never read or stop
amid a line, spoil their handshake, crowds that come and go, no more files to open, a new
certificate, servers stopped, drained and made anew, children stopped and killed. After each round
all clients leave, and what the servers hold and have counted is noted.

It passes if no answer was ever wrong, nobody waited for one in vain, no connection broke but where
its child was killed, its server drained or without files, if the servers have counted what their
clients have, and if memory, descriptors, threads, children and greenlets are flat from the warm-up
to the end.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import random
import shlex
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from greensock.arguments.usage import OneLineParser
from greensock.net import open_files
from loadtests.peers import machine
from loadtests.soaking.cast import CAST, kinds_under
from loadtests.soaking.certificates import Certificates
from loadtests.soaking.clients import Client
from loadtests.soaking.counting import Count
from loadtests.soaking.faults import DESTRUCTIVE, Deck, Fault, faults_for
from loadtests.soaking.fleet import Fleet, Holding
from loadtests.soaking.stage import Stage, Tls
from loadtests.soaking.sums import Sums

MIXINS = ("greenlet", "threading", "forking", "none")

#: Rounds of each mixin that are not compared: caches fill, pools grow to their size.
_WARM_UP = 2
#: Faults a round. Arbitrary: all of a mixin's come within four rounds.
_AT_ONCE = 3
#: Bytes by which a server's memory may differ between its first and its last rounds: what the
#: allocator keeps of a crowd. A leak of 100 bytes for each of the exchanges would be more.
_MEMORY_SLACK = 3 << 20
#: The same for what is counted: what a server makes when first needed, and keeps.
_COUNT_SLACK = 4
#: Idle greenlets that greensock's pool keeps at most, for the next burst.
_GREENLET_SLACK = 64
_SLACKS = {"memory": _MEMORY_SLACK, "greenlets": _GREENLET_SLACK}


@dataclasses.dataclass
class Record:
    """What came of all rounds of one mixin."""

    rounds: int = 0
    count: Count = dataclasses.field(default_factory=Count)
    excused: int = 0
    faults: dict[str, int] = dataclasses.field(default_factory=dict)
    holdings: dict[str, list[Holding]] = dataclasses.field(default_factory=dict)
    sums: list[str] = dataclasses.field(default_factory=list)

    def add(self, count: Count, faults: tuple[Fault, ...]) -> None:
        """Add a round's counts."""
        self.rounds += 1
        for fault in faults:
            self.faults[fault.__name__] = self.faults.get(fault.__name__, 0) + 1
        if set(faults) & set(DESTRUCTIVE):
            self.excused += len(count.broken)
            count = dataclasses.replace(count, broken=[])
        self.count.add(count)


def play_round(
    fleet: Fleet,
    seconds: float,
    faults: tuple[Fault, ...],
    kinds: tuple[str, ...],
    tls: Tls | None = None,
) -> Count:
    """Have the clients talk to the fleet for so long, while the faults happen."""
    over = threading.Event()
    stages: list[Stage] = []

    def stage() -> Stage:
        stages.append(Stage(fleet.addresses, fleet.views, over, tls))
        return stages[-1]

    clients = [
        Client(f"{converse.__name__} {number} ({fleet.mixin})", converse, stage(), kind)
        for kind in kinds
        for converse, count in CAST[kind]
        for number in range(count)
    ]
    troubles = [
        threading.Thread(target=fault, args=(stage(),), name=fault.__name__, daemon=True)
        for fault in faults
    ]
    for thread in (*clients, *troubles):
        thread.start()
    time.sleep(seconds)
    over.set()
    for thread in (*troubles, *clients):
        thread.join()
    total = Count()
    for each in stages:
        total.add(each.count)
    return total


def drifts(mixin: str, record: Record) -> list[str]:
    """What is not flat: a line for everything that the last rounds have more of than the first."""
    found = []
    for kind, series in record.holdings.items():
        series = series[min(_WARM_UP, len(series) - 1) :]
        third = max(1, len(series) // 3)
        for name in ("memory", "descriptors", "threads", "children", "greenlets", "open_clients"):
            first, last = (
                statistics.median(getattr(each, name) for each in part)
                for part in (series[:third], series[-third:])
            )
            slack = _SLACKS.get(name, _COUNT_SLACK)
            if last - first > slack:
                found.append(f"{kind} under {mixin}: {name} went from {first:.0f} to {last:.0f}")
        if series[-1].open_clients > 0:
            found.append(f"{kind} under {mixin}: {series[-1].open_clients} clients never let go")
    return found


def judge(records: dict[str, Record]) -> list[str]:
    """Everything that a soak must not show; empty if it passes."""
    found = []
    for mixin, record in records.items():
        for name in ("wrong", "hung", "broken"):
            lines = getattr(record.count, name)
            if lines:
                found.append(f"{mixin}: {len(lines)} {name}, such as: {lines[0]}")
        if not record.count.answered:
            found.append(f"{mixin}: nothing was answered")
        if "tls" in record.count.opened and not record.count.resumed:
            found.append(f"{mixin}: no TLS session was resumed")
        found += record.sums
        found += drifts(mixin, record)
    return found


def summary(records: dict[str, Record]) -> str:
    """One screen: a line for each mixin, and one for each of its servers."""
    lines = [
        "mixin      rounds  answered  wrong  hung  broken (excused)  datagrams lost  resumed  "
        "faults",
    ]
    for mixin, record in records.items():
        count = record.count
        faults = ", ".join(f"{number} {name}" for name, number in sorted(record.faults.items()))
        lines.append(
            f"{mixin:9}  {record.rounds:6}  {count.answered:8}  {len(count.wrong):5}  "
            f"{len(count.hung):4}  {len(count.broken):6} {f'({record.excused})':9}  "
            f"{count.lost_datagrams:14}  {count.resumed:7}  {faults}"
        )
    lines.append("")
    lines.append("server                 memory MiB      files  threads  children  greenlets")
    for mixin, record in records.items():
        for kind, series in record.holdings.items():
            first, last = series[min(_WARM_UP, len(series) - 1)], series[-1]
            lines.append(
                f"{mixin + ' ' + kind:19} {first.memory / 2**20:6.1f} -> {last.memory / 2**20:5.1f}"
                f"  {_change(first.descriptors, last.descriptors):>9}"
                f"  {_change(first.threads, last.threads):>7}"
                f"  {_change(first.children, last.children):>8}"
                f"  {_change(first.greenlets, last.greenlets):>9}"
            )
    return "\n".join(lines)


def _change(first: int, last: int) -> str:
    return f"{first} -> {last}"


def _options(argv: list[str]) -> argparse.Namespace:
    parser = OneLineParser(prog="python -m loadtests.soak", description="Soak greensock's servers.")
    parser.add_argument("--minutes", type=float, default=10.0, help="how long (default: 10)")
    parser.add_argument("--round", type=float, default=8.0, help="seconds a round (default: 8)")
    parser.add_argument("--mixins", default=",".join(MIXINS), help="which, in turn (default: all)")
    parser.add_argument(
        "--kinds", default=",".join(CAST), help="of servers, echo among them (default: all)"
    )
    parser.add_argument("--seed", type=int, default=1, help="of the faults' order (default: 1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all that was noted there")
    options = parser.parse_args(argv)
    for name, known in (("mixins", MIXINS), ("kinds", tuple(CAST))):
        chosen = tuple(getattr(options, name).split(","))
        if not set(chosen) <= set(known):
            parser.error(f"--{name} must be some of {', '.join(known)}, not {','.join(chosen)}")
        setattr(options, name, chosen)
    if "echo" not in options.kinds:
        parser.error("--kinds must have echo among them: most faults are its server's")
    for name in ("minutes", "round"):
        if getattr(options, name) <= 0:
            parser.error(f"--{name} must be more than 0, not {getattr(options, name):g}")
    return options


def soak(
    options: argparse.Namespace, tls: Mapping[str, Tls]
) -> tuple[dict[str, Record], list[str]]:
    """Play rounds until the time is over; the records, and every fault that was found."""
    rng = random.Random(options.seed)
    records = {mixin: Record() for mixin in options.mixins}
    found: list[str] = []
    fleets: dict[str, Fleet] = {}
    kinds = {mixin: kinds_under(mixin, options.kinds) for mixin in options.mixins}
    decks = {mixin: Deck(faults_for(mixin, kinds[mixin]), rng) for mixin in options.mixins}
    sums = {mixin: Sums(mixin) for mixin in options.mixins}
    try:
        for mixin in options.mixins:
            fleets[mixin] = Fleet(mixin, kinds[mixin], tls[mixin].path if tls else None)
        end = time.monotonic() + options.minutes * 60
        while time.monotonic() < end and not found:
            for mixin, fleet in fleets.items():
                faults = decks[mixin].deal(_AT_ONCE)
                record = records[mixin]
                count = play_round(fleet, options.round, faults, kinds[mixin], tls.get(mixin))
                record.add(count, faults)
                holdings = fleet.holdings(sums[mixin].expected(count, faults))
                record.sums += sums[mixin].add(holdings, count, faults)
                for kind, holding in holdings.items():
                    record.holdings.setdefault(kind, []).append(holding)
                found += fleet.errors()
    except KeyboardInterrupt:
        print("interrupted; what was noted so far:", file=sys.stderr)
    finally:
        for fleet in fleets.values():
            found += fleet.stop()
    return records, found


def _tls(options: argparse.Namespace, folder: Path) -> dict[str, Tls]:
    """What is needed to speak TLS under each mixin; nothing where nobody does."""
    if "tls" not in options.kinds:
        return {}
    certificates = Certificates(folder)
    context = certificates.context()
    return {
        mixin: Tls(context, certificates, certificates.path_for(mixin)) for mixin in options.mixins
    }


def main(argv: list[str] | None = None) -> int:
    """Soak; 1 if anything was found, else 0."""
    argv = sys.argv[1:] if argv is None else argv
    options = _options(argv)
    open_files.raise_limit()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        try:
            tls = _tls(options, Path(folder))
        except RuntimeError as error:
            print(f"{error} (choose --kinds without tls)", file=sys.stderr)
            return 2
        records, found = soak(options, tls)
    played = {mixin: record for mixin, record in records.items() if record.rounds}
    found += judge(played) if played else ["no round was played"]
    head: dict[str, Any] = machine.stamp() | {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "command": shlex.join(["python", "-m", "loadtests.soak", *argv]),
        "minutes": round((time.monotonic() - began) / 60, 2),
        "found": found,
    }
    print(f"{head['date']}, {head['machine']}: {head['minutes']} minutes")
    print(summary(played))
    print("\n".join(found) if found else "nothing found: passed")
    if options.json:
        document = head | {"mixins": {m: dataclasses.asdict(r) for m, r in played.items()}}
        options.json.write_text(json.dumps(document, indent=1) + "\n")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
