"""Clients at work, and hanging up, while the server is told to stop."""

from __future__ import annotations

import contextlib
import itertools
import signal
import threading
import time
from typing import Any

from greensock.torture.bench import Bench
from greensock.torture.exchange import Lost, WrongAnswer, ask
from greensock.torture.target import reset

#: Clients of each of the three kinds.
_OF_EACH = 10

# Ended by the signal itself, as a program is that does not care about it, or by its own means.
_CLEAN = {0, -signal.SIGTERM, 128 + signal.SIGTERM}


def close_during_shutdown(bench: Bench) -> None:
    """The server gets SIGTERM while clients ask, are idle, and hang up.

    Passes if it ends within ten seconds, with status 0 or by the signal, without a traceback, and
    no answer that had begun is cut off.
    """
    assert bench.process is not None
    idle = bench.clients(_OF_EACH)
    leaving = bench.clients(_OF_EACH)
    asking = _Asking(bench, bench.clients(_OF_EACH))
    asking.wait_until_answered()
    leaver = threading.Thread(target=_leave_one_by_one, args=(leaving,))
    leaver.start()
    began = time.monotonic()
    status = bench.process.end(bench.settings.stop)
    seconds = time.monotonic() - began
    leaver.join()
    asking.stop()
    bench.figures["stopped after"] = round(seconds, 3)
    if status is None:
        bench.fault(f"it did not end within {bench.settings.stop:g} s of SIGTERM")
    elif status not in _CLEAN:
        bench.fault(f"it ended with status {status}")
    if asking.cut:
        bench.fault(f"{asking.cut} answers were cut off")
    bench.judge_log()
    bench.note(f"ended after {seconds:.2f} s with status {status}, beside {len(idle)} idle clients")


class _Asking:
    """Clients who ask all the time, each in a thread, until the server hangs up."""

    def __init__(self, bench: Bench, socks: list[Any]) -> None:
        self._bench = bench
        self.cut = 0
        self._numbers = itertools.count(1)
        self._over = threading.Event()
        self._first_answers = threading.Semaphore(0)
        self._threads = [threading.Thread(target=self._ask, args=(sock,)) for sock in socks]
        for thread in self._threads:
            thread.start()

    def wait_until_answered(self) -> None:
        """Wait until each has been answered once, or will not be."""
        for _ in self._threads:
            self._first_answers.acquire(timeout=2 * self._bench.settings.patience)

    def stop(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, sock: Any) -> None:
        try:
            while not self._over.is_set():
                ask(sock, self._bench.exchange, next(self._numbers), self._bench.settings.patience)
                self._first_answers.release()
        except WrongAnswer:
            self.cut += 1
        except Lost as lost:
            self.cut += "amid an answer" in str(lost)
        finally:
            self._first_answers.release()


def _leave_one_by_one(socks: list[Any]) -> None:
    for number, sock in enumerate(socks):
        with contextlib.suppress(OSError):
            if number % 2:
                reset(sock)
            else:
                sock.close()
        time.sleep(0.005)
