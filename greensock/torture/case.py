"""What a case is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from greensock.torture.bench import Bench
from greensock.torture.target import Target


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of bad client.

    Attributes:
        torment: does what the bad clients do, and judges what is special to the case. That the
            probe is answered, and that nothing stays behind, is judged for every case.
        judges_p99: whether the probe's answers must also come soon: not where a crowd is served.
        judges_beside: whether the probe must be answered while the bad clients are there: not where
            the kernel drops what it asks, or where there is no server for a while.
        judges_log: whether a traceback in the server's log is a fault: where clients merely leave.
        few_files: whether a server that is started for it gets a low limit of open files.
        ends_server: whether the server has ended afterwards; needs one that was started for it.
    """

    torment: Callable[[Bench], None]
    datagrams: bool = False
    tls: bool = False
    judges_p99: bool = True
    judges_beside: bool = True
    judges_log: bool = False
    few_files: bool = False
    ends_server: bool = False

    @property
    def name(self) -> str:
        return self.torment.__name__.replace("_", "-")

    @property
    def family(self) -> str:
        return self.torment.__module__.rpartition(".")[2]

    @property
    def does(self) -> str:
        """What its bad clients do, in a sentence."""
        return self.meaning.partition("\n")[0]

    @property
    def meaning(self) -> str:
        """The whole of what it does and when it passes."""
        return (self.torment.__doc__ or "").strip()

    def misfit(self, target: Target, has_command: bool) -> str | None:
        """Why it cannot be tried on this server, or None."""
        if self.datagrams and target.is_stream:
            return "the server takes streams, not datagrams"
        if not self.datagrams and not target.is_stream:
            return "the server takes datagrams, not streams"
        if self.tls and not target.is_tls:
            return "the server speaks no TLS (tls://host:port says that it does)"
        if self.ends_server and not has_command:
            return "needs --command, to start and stop the server itself"
        return None
