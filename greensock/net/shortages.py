"""What may run out in the system: descriptors, memory, threads, processes."""

from __future__ import annotations

import logging
import os

from greensock.net import open_files

_log = logging.getLogger("greensock.serve")

# Seconds before the next try when something has run out, doubling from the first to the last.
# gevent's BaseServer ends at 1.0; with 0.5 a server is back well within a second.
_FIRST_BACK_OFF = 0.01
_LAST_BACK_OFF = 0.5


class Shortage:
    """Something of the system's that may run out: one WARNING an episode, and ever longer pauses.

    Args:
        of: what there is too little of, for the log.
        consequence: what the server does not do meanwhile, for the log.
        again: what it does afterwards, for the log.
    """

    def __init__(self, of: str, consequence: str, again: str) -> None:
        self._of = of
        self._consequence = consequence
        self._again = again
        #: Seconds of the present pause; 0.0 while there is no shortage.
        self.pause = 0.0

    def met(self) -> float:
        """Note that there was none; return for how many seconds to leave it."""
        if not self.pause:
            self.pause = _FIRST_BACK_OFF
            _log.warning(
                "out of %s: %s (trying again in %g s, then less often, every %g s at last)",
                self._of,
                self._consequence,
                _FIRST_BACK_OFF,
                _LAST_BACK_OFF,
            )
        else:
            self.pause = min(self.pause * 2, _LAST_BACK_OFF)
        return self.pause

    def over(self) -> None:
        """Note that there was some."""
        if self.pause:
            self.pause = 0.0
            _log.info("%s", self._again)


class SpareDescriptor:
    """A descriptor kept for the moment when there is none left: to accept a client and close it.

    It is closed with the original os.close: the one that gevent patches closes after a turn of the
    loop, too late.
    """

    def __init__(self) -> None:
        self._fd = -1
        self.take()

    def take(self) -> bool:
        """Have it; False if there is none to be had now."""
        if self._fd < 0:
            try:
                self._fd = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                return False
        return True

    def give(self) -> bool:
        """Let go of it, so that the next descriptor may be opened; False if there was none."""
        if self._fd < 0:
            return False
        fd, self._fd = self._fd, -1
        open_files.close_now(fd)
        return True
