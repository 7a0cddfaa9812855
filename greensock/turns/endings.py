"""The end of a client, and what becomes of whatever the program raises on the way there.

A client ends in many places: after a turn, after its timeout, to make room, in a drain, with the
server; in the serving greenlet, in a greenlet of its own, a thread or a child. All go through here.
What is raised for one client has three ways to go, and never more than one of them:

- an Exception is told to `handle_error`, once, and the server goes on;
- what a signal's handler raised goes to the main greenlet: it is not this client's;
- anything else (SystemExit, GreenletExit, KeyboardInterrupt) is raised on: out of `serve_forever`
  without a mixin, out of a thread or child, as in socketserver. Where one client among many is
  ended, `contain` stands for the end of the thread.
"""

from __future__ import annotations

import contextlib
import functools
import threading
import traceback
from collections.abc import Callable
from typing import Any

from greenlet import GreenletExit

from greensock.hub.signals import interrupts
from greensock.lot.client import Client
from greensock.turns.program import Program

# The constructors that call finish() whatever handle() has raised: greensock's, the standard one.
_CONSTRUCTOR = "BaseRequestHandler.__init__"


class Endings:
    """The ends of one server's clients.

    Args:
        program: the server; its hooks are called.
        release: called with each client of the lot whose request is about to be closed.
        leave_to_serving: called in the main greenlet with what to do; False if that is not what
            serves: it has not been done then, and will not be.
    """

    __slots__ = ("_leave_to_serving", "_program", "_release")

    def __init__(
        self,
        program: Program,
        release: Callable[[Client], None],
        leave_to_serving: Callable[[Callable[[], Any]], bool],
    ) -> None:
        self._program = program
        self._release = release
        self._leave_to_serving = leave_to_serving

    def tell(self, request: Any, client_address: Any, error: BaseException) -> None:
        """In the `except` clause of what the program raised for one client: tell whom it concerns.

        Raises:
            BaseException: `error`, if it is no Exception; what `handle_error` raises; in the main
                greenlet, what a signal's handler has raised.
        """
        interrupt = _interrupt_in(error)
        try:
            if interrupt is not error:
                if not isinstance(error, Exception):
                    raise error
                self._program.handle_error(request, client_address)
            if interrupt is not None:
                interrupts.pass_on(interrupt)
        finally:
            # Here and below: its traceback refers to this frame. As a cycle it would keep the
            # handler, and with its files the client's connection, until the collector comes.
            del error, interrupt

    def contain(self, error: BaseException) -> None:
        """In an `except` clause: end no more than the client for whom `error` was raised.

        As the end of its thread would. Of what is no error nothing is said; what is for the
        program's owner goes to the main greenlet. If that serves, it is left to do first what it is
        about, the care for a client.

        Raises:
            BaseException: `error`, in the main greenlet, if that does not serve.
        """
        try:
            if isinstance(error, KeyboardInterrupt) or interrupts.is_interrupt(error):
                if not self._leave_to_serving(functools.partial(interrupts.pass_on, error)):
                    interrupts.pass_on(error)
            elif not isinstance(error, SystemExit | GreenletExit):
                _print(error)
        finally:
            del error

    def tell_beside(self, request: Any, client_address: Any, error: BaseException) -> None:
        """As `tell`, for a hook that is called beside the turns: only its owner's is raised."""
        try:
            self.tell(request, client_address, error)
        except BaseException as raised:  # noqa: BLE001 - raised again if it is the owner's
            self.contain(raised)
        finally:
            del error

    def close(self, request: Any, client_address: Any) -> None:
        """Close a request, through the program's hook; raises as `tell`."""
        try:
            self._program.shutdown_request(request)
        except BaseException as error:  # noqa: BLE001 - raised again if it is no error
            self._not_closed(request, client_address, error)

    def _not_closed(self, request: Any, client_address: Any, error: BaseException) -> None:
        """In the `except` clause of shutdown_request's call: how far it has come nobody knows."""
        with contextlib.suppress(AttributeError, OSError):
            request.close()
        self.tell(request, client_address, error)

    def close_beside(self, request: Any, client_address: Any) -> None:
        """Close a request that nothing runs for; nothing but its owner's is raised."""
        try:
            self.close(request, client_address)
        except BaseException as error:  # noqa: BLE001 - raised again if it is the owner's
            self.contain(error)

    def let_go(self, client: Client) -> None:
        """In a parent: close what it has of a request that a child has served, or will."""
        try:
            self._program.close_request(client.request)
        except BaseException as error:  # noqa: BLE001 - raised again if it is the owner's
            self.tell_beside(client.request, client.address, error)

    def serve_dedicated(self, request: Any, client_address: Any) -> None:
        """Handle a request whose client is not in the lot, from its handler's making to its close.

        Raises:
            BaseException: what the handler raised that is no Exception; the request is closed.
        """
        try:
            self._program.finish_request(request, client_address)
        except BaseException as error:  # noqa: BLE001 - raised again if it is no error
            self.tell(request, client_address, error)
        finally:
            self.close(request, client_address)

    def end(self, client: Client) -> None:
        """End a client: `finish()` of its handler, and close; raises as `tell`."""
        handler, client.handler = client.handler, None
        request = client.request
        try:
            if handler is not None:
                handler.finish()
        except BaseException as error:  # noqa: BLE001 - raised again if it is no error
            self.tell(request, client.address, error)
        finally:
            self._release(client)
            # As `close`, without its call: every client ends here.
            try:
                self._program.shutdown_request(request)
            except BaseException as error:  # noqa: BLE001 - raised again if it is no error
                self._not_closed(request, client.address, error)

    def end_after(self, client: Client, error: BaseException) -> None:
        """In the `except` clause of what a turn raised: end the client, as a constructor would.

        What `finish()` raises then takes the place of `error`, which is its context; but an error
        does not take that of an interrupt.

        Raises:
            BaseException: as `tell`.
        """
        handler, client.handler = client.handler, None
        request, address = client.request, client.address
        last: BaseException | None = None
        try:
            try:
                if handler is not None:
                    handler.finish()
            except BaseException as raised:  # noqa: BLE001 - raised again below
                if isinstance(raised, Exception) and not interrupts.is_interrupt(raised):
                    self._program.handle_error(request, address)
                    if not (isinstance(error, KeyboardInterrupt) or interrupts.is_interrupt(error)):
                        return
                else:
                    last = raised
            if last is None or isinstance(error, Exception):
                self.tell(request, address, error)
            if last is not None:
                self.tell(request, address, last)
        finally:
            del error, last
            self._release(client)
            self.close(request, address)

    def end_one_of_many(self, client: Client, error: BaseException | None) -> None:
        """End a client among others; after an error, in its `except` clause.

        Raises:
            BaseException: in the main greenlet, what is for the program's owner.
        """
        try:
            if error is None:
                self.end(client)
            else:
                self.end_after(client, error)
        except BaseException as raised:  # noqa: BLE001 - raised again if it is the owner's
            self.contain(raised)
        finally:
            del error


def _interrupt_in(error: BaseException) -> BaseException | None:
    """What a signal's handler has raised, in `error` or in the finish() that followed it."""
    if interrupts.is_interrupt(error):
        return error
    before = error.__context__
    if before is None or before.__traceback__ is None:
        return None
    reached = before.__traceback__.tb_frame.f_code.co_qualname
    return before if reached == _CONSTRUCTOR and interrupts.is_interrupt(before) else None


def _print(error: BaseException) -> None:
    """As for an error that ends a thread."""
    arguments = threading.ExceptHookArgs((type(error), error, error.__traceback__, None))
    try:
        threading.excepthook(arguments)
    except Exception:  # noqa: BLE001 - a hook of the program's too
        traceback.print_exc()
