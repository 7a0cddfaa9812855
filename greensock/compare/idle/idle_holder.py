"""This side of the process that holds idle clients (`idle_clients.py`)."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from greensock.processes.started import TalkingProcess, describe_status

SCRIPT = Path(__file__).with_name("idle_clients.py")


class HolderFailed(Exception):
    """The process that holds the idle clients died or stopped answering."""


@dataclass
class Opened:
    """What came of opening idle clients.

    `held` completed an exchange; `unanswered` were connected by the kernel but never served;
    `errors` counts the others by reason.
    """

    asked: int = 0
    held: int = 0
    unanswered: int = 0
    not_tried: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0


class IdleHolder(TalkingProcess):
    """Holds idle clients of `address`, each of which says `payload` once and expects `expect`.

    With `payload` None they say nothing, and count as held once they are connected. `payload` has
    a character for each byte (Latin-1). `sources` are the addresses they come from in turn; none:
    the machine's choice.
    """

    def __init__(
        self,
        address: str,
        folder: Path,
        *,
        payload: str | None,
        expect: str,
        sources: Sequence[str] = (),
        cpus: tuple[int, ...] | None = None,
    ) -> None:
        command = [sys.executable, "-I", "-S", str(SCRIPT), address]
        super().__init__("idle", command, folder, cpus=cpus)
        self.payload = payload
        self.expect = expect
        self.sources = list(sources)

    def ask(self, seconds: float, **command: Any) -> dict[str, Any]:
        """Send one command; its answer, or HolderFailed after so many seconds."""
        try:
            answer: dict[str, Any] = self.answer_to(command, seconds)
        except TimeoutError:
            raise HolderFailed(
                f"the idle clients' process did not answer within {seconds:.0f} s"
            ) from None
        except EOFError as error:
            raise HolderFailed(self.obituary()) from error
        return answer

    def obituary(self) -> str:
        status = self.stop(grace=1.0)
        last = self.error_tail(1)
        return f"the idle clients' process ended with {describe_status(status)}: {' '.join(last)}"

    def open(
        self, clients: int, *, patience: float, keep: bool = True, at_once: int = 256
    ) -> Opened:
        """Open clients, each proved served by one exchange; give up after `patience` idle seconds.

        The deadline is generous because the child gives up by itself: it allows 1 ms a client
        more than ten times what the slowest mixin took.
        """
        answer = self.ask(
            30 + patience + clients * 0.02,
            do="open",
            clients=clients,
            payload=self.payload,
            expect=self.expect,
            patience=patience,
            in_flight=at_once,
            keep=keep,
            sources=self.sources,
        )
        return Opened(**answer)

    def answers(self, clients: int, *, patience: float) -> Opened:
        """Try `clients` clients one after the other, none of which stays."""
        return self.open(clients, patience=patience, keep=False, at_once=1)

    def lost(self) -> int:
        """How many of the held clients the server has closed by now."""
        return int(self.ask(30, do="check")["lost"])

    def ping(self, clients: int, *, patience: float) -> tuple[int, int]:
        """One more exchange on a sample of the held clients: (asked, answered)."""
        answer = self.ask(
            10 + 5 * patience,
            do="ping",
            clients=clients,
            payload=self.payload,
            expect=self.expect,
            patience=patience,
        )
        return int(answer["asked"]), int(answer["answered"])

    def let_go(self) -> None:
        """Close every held client."""
        self.ask(30, do="close")
