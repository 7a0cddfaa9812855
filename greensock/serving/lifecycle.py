"""From `serve_forever` to its end: who serves, who has asked it to stop, and who waits for that."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any

from greensock.hub import lifetime
from greensock.hub.signals import interrupts
from greensock.hub.waking import Latch
from greensock.serving import draining
from greensock.serving.draining import Drain, Drained
from greensock.serving.run import Run

if TYPE_CHECKING:
    from greensock.serving.service import Service

# Seconds that whoever waits for a drain has to hear of it before serve_forever ends.
_WAKING = 0.1


class Lifecycle:
    """Runs of `serve_forever` of one server, one after the other.

    Args:
        service: the server's.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        #: Set while serve_forever does not run.
        self.ended = Latch(is_set=True)
        #: Whether serving is to end; anything that is true or false, as programs set it.
        self.stop_asked: Any = False
        self._greenlet: Any = None
        #: The drain that goes on, if any.
        self.drain: Drain | None = None

    def serve_forever(self, poll_interval: float | None) -> None:
        """What the method of the server does.

        Raises:
            RuntimeError: it is running already.
        """
        service = self._service
        if not self.ended.claim():
            raise RuntimeError(
                f"serve_forever() of {service.server!r} is running already: one loop serves all "
                f"clients, and a mixin says what their handlers run in"
            )
        # First: a signal handler may call shutdown() before there is a loop to stop.
        self._greenlet = lifetime.current_greenlet()
        ended = self.ended = Latch()
        try:
            with lifetime.borrowed_hub() as ends_with_us, interrupts.heard():
                try:
                    if not self.stop_asked:
                        self._serve(poll_interval)
                except BaseException as error:
                    if interrupts.is_interrupt(error):
                        # This may be a greenlet of the main thread, and not its main one.
                        interrupts.pass_on(error)
                    raise
                finally:
                    self._leave_hub(ends_with_us)
        finally:
            # Last of all: who waits for it finds nothing of the hub in this thread, and what the
            # program does behind this call done, as a rule: the thread goes on with the
            # interpreter's lock, for which the other one has yet to wait.
            self._note_end(ended)

    def _note_end(self, ended: Latch) -> None:
        if not ended.is_set():
            self.stop_asked = False
            ended.set()

    def _serve(self, poll_interval: float | None) -> None:
        service = self._service
        service.is_closed = False
        if service.run is not None:
            # In a child that its serving greenlet has forked, in a handler that it may return to.
            service.run.stopping = True
        run = service.run = Run(service, poll_interval)
        # Asked for by another thread since it was looked at.
        run.stopping = bool(self.stop_asked)
        service.counters.begun = monotonic()
        try:
            service.prepare()
            service.attach(run)
            run.read_settings()
            run.serve()
        finally:
            service.counters.begun = None
            service.detach(run)
            drain, self.drain = self.drain, None
            if drain is not None:
                drain.serving_ended()
                drain.done.let_go()
                drain.done.let_threads_go(_WAKING)

    def _leave_hub(self, hub_ends: bool) -> None:
        """After serving: see to the greenlets of a hub that is about to end."""
        service = self._service
        service.runner.leave_hub(hub_ends)
        if hub_ends:
            service.acceptor.leave_hub()
        if hub_ends and self.ended.is_awaited_here():
            self.do_not_wait_for_hub()
            self.ended.let_go()

    def do_not_wait_for_hub(self) -> None:
        """Have shutdown() return, though greenlets go on that need the hub."""
        self._note_end(self.ended)

    def ask_to_stop(self, stops: Any = True) -> None:
        """Have serve_forever end, this one or the next; or not, after all."""
        self.stop_asked = stops
        run = self._service.run
        if stops and run is not None:
            run.stopping = True
            run.sleeper.ring_soon()

    def shutdown(self) -> None:
        """What the method of the server does."""
        if self._service.is_parents:
            return
        self.ask_to_stop()
        if lifetime.current_greenlet() is not self._greenlet:
            self.ended.wait()

    def drain_and_wait(self, timeout: float) -> Drained | None:
        """What `drain()` of the server does."""
        service = self._service
        if service.is_parents:
            return None
        if service.run is None:
            service.server.draining = True
            self.ask_to_stop()
            return draining.drain_unserved(service, timeout)
        drain = self._start_drain(timeout)
        caller = lifetime.current_greenlet()
        if caller is self._greenlet or service.runner.is_worker() or drain.is_kept_by(caller):
            return None
        # Not for the end of serve_forever: what was cut may hold its hub beyond the deadline.
        return drain.await_report()

    def _start_drain(self, timeout: float) -> Drain:
        drain = self.drain
        if drain is None:
            drain = self.drain = Drain(self._service, timeout)
            # After it has noted the time: who sees that was busy when it began.
            self._service.server.draining = True
            if not drain.start():
                drain.serving_ended()
        return drain

    def drain_or_hurry(self, timeout: float) -> None:
        """What a signal asks for: at first a drain, the next time its end. Never blocks."""
        if self.drain is not None:
            self.drain.hurry()
        elif self._service.run is not None:
            self._start_drain(timeout)
        else:
            self.ask_to_stop()

    def forget(self) -> None:
        """In a child of the program's: nobody serves here."""
        if not self.ended.is_set():
            # Also between the beginning of a run, or its end, and that of `Service.run`.
            self.stop_asked = False
        self.ended = Latch(is_set=True)
        self._greenlet = None
        self.drain = None
