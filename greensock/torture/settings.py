"""How much of everything, and what counts as bad: the bounds of every case."""

from __future__ import annotations

from dataclasses import dataclass

KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True, slots=True)
class Settings:
    """Counts, sizes in bytes and times in seconds.

    The first half is what is sent, the second what the server is judged by.
    """

    #: Bad clients at once, where the case is about what each of them holds.
    clients: int = 100
    #: Clients who connect at once in `burst`.
    burst: int = 10_000
    #: Connections that end with a reset in each of the reset cases.
    resets: int = 500
    #: Connections in `connect-flood`.
    connects: int = 3_000
    #: Clients who flood.
    flooders: int = 4
    #: Datagrams in `datagram-flood`, at most; it also ends after `hold`.
    datagrams: int = 100_000
    #: Length of the endless line.
    endless_line: int = 64 * MIB
    #: What each client of `never-reads` sends at most.
    unread: int = 8 * MIB
    #: For how long the bad clients stay, where nothing else bounds them.
    hold: float = 2.0
    #: The limit of open files that `out-of-files` starts a server with.
    few_files: int = 128

    #: The probe: between two exchanges on its connection, and between two new connections.
    probe_interval: float = 0.02
    fresh_interval: float = 0.1
    #: After so long without its answer, an exchange of the probe is lost. A person has given up.
    patience: float = 2.0
    #: Most that 99 of 100 exchanges of the probe may take beside the bad clients. Beyond a quarter
    #: of a second people speak of a hang; on a quiet machine a fair server stays under 10 ms.
    p99: float = 0.25
    #: For how long the server's CPU time is watched while nobody asks anything.
    quiet: float = 0.5
    #: Share of a CPU that it may use then: far above any timer, far below a loop that spins.
    spin: float = 0.05
    #: How much its memory may grow where clients send without end: half of what `endless-line`
    #: sends, and far more than kernel-sized buffers for everybody need.
    growth: int = 32 * MIB
    #: For how long the probe goes on asking once the bad clients are gone.
    afterwards: float = 0.3
    #: How long it has to let go of what the bad clients held, once they are gone.
    settle: float = 5.0
    #: More descriptors, threads or children than before: what a server makes once, and keeps.
    slack: int = 8
    #: How soon new clients are served once descriptors are free again.
    recovery: float = 2.0
    #: How long the server has to end once it is told to.
    stop: float = 10.0

    @property
    def big_wait(self) -> float:
        """For how long crowds are waited for."""
        return 5 * self.patience


FULL = Settings()

#: For a test suite: the same cases, smaller and shorter. A few seconds in all.
QUICK = Settings(
    clients=24,
    burst=400,
    resets=60,
    connects=200,
    flooders=2,
    datagrams=4_000,
    endless_line=48 * MIB,
    hold=0.25,
    few_files=64,
    fresh_interval=0.05,
    quiet=0.2,
)
