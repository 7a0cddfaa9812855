"""The servers of a program under `greensock run`: shown while they serve, and drained."""

from __future__ import annotations

import contextlib
import signal
import socket
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any

from greensock.arguments.usage import UsageError
from greensock.cli.programs import seeing
from greensock.control import place
from greensock.control.answering import control_socket
from greensock.control.place import NoControl
from greensock.hub import lifetime
from greensock.net.addresses import Address
from greensock.servers.base import BaseServer

# What this shows servers with, which need not be shown.
_OWN = ("greensock.control.answering", "greensock.metrics")


class ProgramServers:
    """Those that serve now, whatever the program makes of them.

    Args:
        control: whether each has a control socket.
        metrics: where Prometheus is answered about all of them, for as long as the first of them
            serves; None: nowhere.
        graceful_timeout: seconds that a drain may take, which the first SIGTERM or Ctrl-C then
            asks for; None: signals are the program's.

    Raises:
        UsageError: something of that cannot be had.
    """

    def __init__(self, control: bool, metrics: str | None, graceful_timeout: float | None) -> None:
        self._live: list[Any] = []
        self._control = control
        self._metrics = None if metrics is None else seeing.metrics_address(metrics)
        self._shows_metrics = False
        self._graceful_timeout = graceful_timeout
        self._signals = 0
        #: How many of them the program serves where it began, and not in a thread.
        self._in_main_program = 0
        if control:
            try:
                place.make_folder()
            except NoControl as error:
                raise UsageError(f"--control: {error}") from error
        if self._metrics is not None:
            _try_to_bind(self._metrics)

    def watch(self) -> None:
        """From now on, in the main thread: see to each server that begins to serve."""
        plain = BaseServer.serve_forever
        serving = self._serving

        def serve_forever(self: Any, poll_interval: float | None = 0.5) -> None:
            if type(self).__module__ in _OWN:
                plain(self, poll_interval)
                return
            with serving(self):
                plain(self, poll_interval)

        serve_forever.__doc__ = plain.__doc__
        BaseServer.serve_forever = serve_forever  # type: ignore[method-assign]
        if self._graceful_timeout is not None:
            for number, usual in (
                (signal.SIGTERM, signal.SIG_DFL),
                (signal.SIGINT, signal.default_int_handler),
            ):
                if signal.getsignal(number) is usual:
                    signal.signal(number, self._stop)

    @contextlib.contextmanager
    def _serving(self, server: Any) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            self._live.append(server)
            stack.callback(self._live.remove, server)
            if lifetime.is_main_program():
                self._in_main_program += 1
                stack.callback(self._leave_main_program)
            # A thread's hub, made for these, would otherwise be left behind.
            stack.enter_context(lifetime.borrowed_hub())
            if self._control:
                try:
                    stack.enter_context(control_socket(server))
                except (NoControl, OSError) as error:
                    _tell(f"--control: {error}")
            if self._metrics is not None:
                try:
                    self._show_metrics(stack, server, self._metrics)
                except UsageError as error:
                    _tell(str(error))
            yield

    def _leave_main_program(self) -> None:
        self._in_main_program -= 1

    def _show_metrics(self, stack: contextlib.ExitStack, server: Any, address: Address) -> None:
        # Only now: it imports http.server, of which the program is to have greensock's.
        from prometheus_client import CollectorRegistry

        from greensock.metrics import ServersCollector

        if self._shows_metrics:
            return
        self._shows_metrics = True
        stack.callback(setattr, self, "_shows_metrics", False)
        registry = CollectorRegistry()
        registry.register(ServersCollector(lambda: list(self._live)))
        seeing.serve_metrics(stack, server, address, registry)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        """Drain them all, then end the program; at the second signal cut what is left."""
        timeout = self._graceful_timeout or 0.0
        live = list(self._live)
        self._signals += 1
        if not live or self._signals > 2:
            _end(number)
        for server in live:
            server._greensock.lifecycle.drain_or_hurry(timeout)
        if self._signals > 1:
            # The first of them waits, or the program has gone on.
            return
        if self._in_main_program:
            # It goes on by itself once that one is drained.
            return
        for server in live:
            server.drain(timeout)
        _end(number)


def _end(number: int) -> None:
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    sys.exit(0)


def _tell(mistake: str) -> None:
    print(f"greensock: {mistake}", file=sys.stderr, flush=True)


def _try_to_bind(address: Address) -> None:
    """See whether there is room for a listener, before the program has begun.

    Raises:
        UsageError: there is none.
    """
    with socket.socket(address.family) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(address.sockaddr)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise UsageError(f"--metrics: cannot listen on {address}: {reason}") from error
