"""Clients who come all at once."""

from __future__ import annotations

import contextlib
import errno
import selectors
import socket
import time

from greensock.net import open_files
from greensock.torture.bench import Bench
from greensock.torture.exchange import Lost, ask, describe
from greensock.torture.target import reset
from greensock.torture.verdicts import NotApplicable

#: Descriptors that this process needs for all else.
_OWN_FILES = 100
#: Those of a burst who ask.
_SAMPLE = 200


def burst(bench: Bench) -> None:
    """Thousands connect at once, from several addresses, and some of them ask.

    Passes if all connections come about and those who ask are answered, unless the server's own
    limit of open files is lower; and if the others are served beside them, however slowly.
    """
    count = _possible(bench)
    began = time.monotonic()
    crowd = _Crowd(bench, count)
    try:
        connected = crowd.connect(began + bench.settings.big_wait)
        seconds = time.monotonic() - began
        bench.figures["burst seconds"] = round(seconds, 3)
        if len(connected) < count:
            bench.fault(
                f"{count - len(connected)} of {count} did not connect within "
                f"{bench.settings.big_wait:g} s ({crowd.complaint or 'no answer'})"
            )
        answered, asked, complaint = _ask_some(bench, connected)
        if answered < asked:
            bench.fault(f"{asked - answered} of {asked} who asked were not answered: {complaint}")
        bench.note(
            f"{len(connected)} connected within {seconds:.1f} s, {answered} of {asked} answered"
        )
        bench.look_at_memory()
    finally:
        crowd.leave()


def connect_flood(bench: Bench) -> None:
    """Clients connect and hang up again, as fast as they can.

    Passes if the others are served beside them and nothing of theirs stays behind.
    """
    done = 0
    deadline = time.monotonic() + bench.settings.big_wait
    while done < bench.settings.connects and time.monotonic() < deadline:
        try:
            sock = bench.target.connect_raw(bench.settings.patience, bench.source())
        except OSError:
            continue
        # An end, not an error; but with no more waiting here than a reset asks for.
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_WR)
        sock.close()
        done += 1
    if not done:
        raise NotApplicable("no bad client could connect")
    bench.note(f"{done} connections")


def _possible(bench: Bench) -> int:
    """How many can be tried: as many as this process may open, and as the server may."""
    own = open_files.raise_limit() - _OWN_FILES
    count = min(bench.settings.burst, own)
    if bench.view is not None:
        count = min(count, bench.view.open_files_limit() - _OWN_FILES)
    if count < 50:
        raise NotApplicable(f"only {max(count, 0)} connections are possible: the open-file limits")
    if count < bench.settings.burst:
        bench.note(f"{bench.settings.burst} were asked for, open-file limits allow {count}")
    return count


class _Crowd:
    """Clients who begin to connect all at once, without waiting for each other."""

    def __init__(self, bench: Bench, count: int) -> None:
        self._bench = bench
        self._pending = count
        self._selector = selectors.DefaultSelector()
        self._socks: list[socket.socket] = []
        self.complaint = ""

    def connect(self, deadline: float) -> list[socket.socket]:
        """Those who are connected by the deadline, or as soon as all are."""
        connected: list[socket.socket] = []
        while self._pending or self._selector.get_map():
            if time.monotonic() > deadline:
                break
            # Begun in portions, so that answers of the kernel are taken in between.
            for _ in range(min(self._pending, 200)):
                if not self._begin(connected):
                    break
            for key, _ in self._selector.select(0.01 if self._pending else 0.2):
                sock = key.fileobj
                assert isinstance(sock, socket.socket)
                self._selector.unregister(sock)
                error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if error:
                    self.complaint = describe(OSError(error, errno.errorcode.get(error, "?")))
                else:
                    connected.append(sock)
        return connected

    def _begin(self, connected: list[socket.socket]) -> bool:
        """Begin to connect one; False if its kind of socket must wait for the others first."""
        sock = self._bench.target.new_socket(self._bench.source())
        sock.setblocking(False)
        error = sock.connect_ex(self._bench.target.sockaddr)
        if error == errno.EAGAIN:
            # A Unix socket's queue is full: there is no connection under way to wait for.
            sock.close()
            return False
        self._pending -= 1
        self._socks.append(sock)
        if error == errno.EINPROGRESS:
            self._selector.register(sock, selectors.EVENT_WRITE)
        elif error:
            self.complaint = describe(OSError(error, errno.errorcode.get(error, "?")))
        else:
            connected.append(sock)
        return True

    def leave(self) -> None:
        self._selector.close()
        for sock in self._socks:
            # Thousands that end here would keep their ports for a minute.
            reset(sock)


def _ask_some(bench: Bench, socks: list[socket.socket]) -> tuple[int, int, str]:
    """Have some of the crowd ask: how many were answered, of how many, and why others not."""
    if bench.target.is_tls:
        return 0, 0, ""
    sample = socks[:: max(1, len(socks) // _SAMPLE)]
    deadline = time.monotonic() + bench.settings.big_wait
    answered, complaint = 0, ""
    for number, sock in enumerate(sample):
        try:
            ask(sock, bench.exchange, number, max(deadline - time.monotonic(), 0.001))
        except Lost as lost:
            complaint = complaint or str(lost)
        else:
            answered += 1
    return answered, len(sample), complaint
