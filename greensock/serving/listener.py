"""The listener of a server while it serves, and why nobody is accepted just now."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from greensock.hub.waiting import READ, new_watcher
from greensock.net.listening import AcceptError, is_readable
from greensock.net.shortages import Shortage

if TYPE_CHECKING:
    from greensock.serving.run import Run


class Listener:
    """Watches a server's listener during one run of `serve_forever`, and accepts from it.

    Args:
        run: that run.
        ring: wakes its greenlet to call `accept`.
    """

    def __init__(self, run: Run, ring: Callable[[], object]) -> None:
        self._run = run
        self._service = run.service
        self._ring = ring
        self._accept_some, self._accept_batch = run.service.acceptor.for_run()
        #: Why nobody is accepted now: "full", "paused", "shortage"; newcomers wait in the kernel.
        self._holds: set[str] = set()
        self._watcher: Any = None
        self._fd = -1
        #: Whether there is somebody to be accepted.
        self.acceptable = False
        self._files = Shortage(
            "open files or memory", "not accepting until some are free", "accepting again"
        )

    def watch(self) -> None:
        """Begin; without a descriptor there is nothing to be watched."""
        fd = self._service.server.fileno()
        if fd < 0:
            return
        self._fd = fd
        self._watcher = new_watcher(fd, READ)
        self._listen()

    def _on_acceptable(self) -> None:
        # Level-triggered: while a hook blocks the serving greenlet, an active watcher would fire
        # at every turn of the loop.
        self._watcher.stop()
        self.acceptable = True
        self._ring()

    def close(self) -> None:
        """Close the watcher, so that the listener may be closed. Idempotent."""
        watcher, self._watcher = self._watcher, None
        self.acceptable = False
        if watcher is not None:
            watcher.stop()
            watcher.close()

    def accept(self) -> None:
        """Let in who waits, as far as there is room."""
        self.acceptable = False
        admission = self._run.admission
        room = admission.room()
        if room <= 0:
            if not admission.turn_away_or_wait():
                self.hold("full")
                if admission.room() > 0:
                    # A thread has ended its client since, and had nobody to tell yet.
                    self.release("full")
            self._listen()
            return
        accept = self._accept_some
        for _ in range(min(self._accept_batch(), room)):
            error = accept()
            if self._run.stopping or self._watcher is None or error is AcceptError.NOTHING_WAITS:
                break
            if error is None and not self._files.pause:
                continue
            if error is AcceptError.LISTENER_LOST:
                self.close()
                return
            if error is AcceptError.EXHAUSTED:
                if not is_readable(self._fd):
                    # The kernel looks for a descriptor before it looks whether anybody waits.
                    break
                admission.shed()
                self.hold("shortage")
                self._run.call_after(self._files.met(), lambda: self.release("shortage"))
                return
            if error is None:
                self._files.over()
        self._listen()

    def _listen(self) -> None:
        if self._watcher is not None and not self._holds:
            self._watcher.start(self._on_acceptable)

    def hold(self, reason: str) -> None:
        """Leave newcomers in the kernel's queue until `release` of the same reason."""
        self._holds.add(reason)
        if self._watcher is not None:
            self._watcher.stop()
        self._run.attend()

    def release(self, reason: str) -> None:
        """Accept again, unless there is another reason not to; from the hub too."""
        self._holds.discard(reason)
        self._run.attend()
        self._listen()

    def is_held(self, reason: str) -> bool:
        """Whether nobody is accepted for this reason."""
        return reason in self._holds
