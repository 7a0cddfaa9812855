"""What a comparison compares: each contender is a way to serve one handler, with its command."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

MIXINS = ("greenlet", "threading", "forking", "none")
PEERS = (
    "stdlib-threading",
    "stdlib-forking",
    "stdlib-none",
    "gevent-streamserver",
    "patched-threading",
    "patched-forking",
    "patched-streamserver",
)
#: What a whole program can be compared under: there it is the program that has the mixin.
OF_PROGRAMS = ("greenlet", "threading", "forking")
PEERS_OF_PROGRAMS = ("stdlib-threading", "patched-threading")
_SCRIPTS = Path(__file__).parents[1] / "under_test"
PEER_SCRIPT = _SCRIPTS / "serve_peer.py"
SERVE_SCRIPT = _SCRIPTS / "greenlet_count.py"

# With handlers that are parked these bound what runs at one moment, not how many clients there are.
_BUSY_BOUNDS = {
    "none": "it runs one handler at a time",
    "forking": "it runs at most max_children handlers at once (--max-children)",
}

# What each cannot do with a handler whose own handle() runs for as long as its client stays.
_BOUNDS = {
    "none": "it serves one client at a time, so a client that stays keeps all others waiting",
    "forking": "a client that stays keeps a child, and there are at most max_children",
    "threading": "a client that stays keeps a thread",
    "greenlet": "a client that stays keeps a greenlet",
}


@dataclass(frozen=True)
class Contender:
    """One way to serve the target. `name` is how it is called everywhere."""

    name: str

    @property
    def is_peer(self) -> bool:
        return self.name in PEERS

    @property
    def kind(self) -> str:
        """The mixin, also of a peer that uses the standard library's."""
        for mixin in MIXINS:
            if self.name.endswith(mixin):
                return mixin
        return "greenlet"

    @property
    def called(self) -> str:
        """The name in a sentence, where "none" would be misread."""
        return "no mixin" if self.name == "none" else self.name

    @property
    def bound(self) -> str:
        """Why it may not have served every client."""
        if self.name == "patched-threading":  # whose threads are greenlets
            return _BOUNDS["greenlet"]
        return _BOUNDS[self.kind]

    @property
    def busy_bound(self) -> str | None:
        """Why some of many active clients may have waited too long; None without such a bound."""
        return _BUSY_BOUNDS.get(self.kind)

    def command(self, target: str, bind: str, settings: list[str]) -> list[str]:
        """The command that serves `target` at `bind` and prints `listening on ...` when ready."""
        options = ["--bind", bind]
        for setting in settings:
            options += ["--set", setting]
        # -P, because a script's folder on sys.path would let its neighbours shadow modules.
        if self.is_peer:
            return [sys.executable, "-P", str(PEER_SCRIPT), self.name, target, *options]
        serve = [sys.executable, "-P", str(SERVE_SCRIPT), "serve", target, "--mixin", self.name]
        return [*serve, *options]

    def program_command(self, program: str, port: int, settings: list[str]) -> list[str]:
        """The command that runs a program, as typed after `python`, which listens at `port`."""
        arguments = shlex.split(program.replace("{port}", str(port)))
        if self.name.startswith("stdlib"):
            return [sys.executable, *arguments]
        if self.is_peer:
            if arguments[0] == "-m":
                arguments[0] = "--module"
            return [sys.executable, "-m", "gevent.monkey", *arguments]
        options = [part for setting in settings for part in ("--set", setting)]
        run = [sys.executable, "-m", "greensock", "run", "--mixin", self.name]
        return [*run, *options, *arguments]
