"""Accepting a request, and offering it to the program's hooks."""

from __future__ import annotations

import functools
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from greensock.net import listening
from greensock.net.listening import AcceptError
from greensock.sockets.requests import OriginalSocket

if TYPE_CHECKING:
    from greensock.serving.service import Service


class Acceptor:
    """What is between the listener of a server and its `process_request`.

    Args:
        service: of that server.
    """

    def __init__(self, service: Service) -> None:
        self.service = service
        self.server = service.server
        self._error: AcceptError | None = None

    def next_request(self) -> tuple[Any, Any] | AcceptError:
        """Call get_request, where a request is there or was there a moment ago."""
        run = self.service.run
        if run is not None:
            run.accepting = True
        try:
            request, client_address = self.server.get_request()
            return request, client_address
        except OSError as error:
            return listening.classify(error)
        finally:
            if run is not None:
                run.accepting = False

    def accept_one(self) -> AcceptError | None:
        """Accept one request, and process it."""
        service, server = self.service, self.server
        run = service.run
        try:
            # As `next_request`, without its call: this is where every connection comes by.
            if run is not None:
                run.accepting = True
            request, client_address = server.get_request()
        except OSError as error:
            return listening.classify(error)
        finally:
            if run is not None:
                run.accepting = False
        service.counters.accepted += 1
        accepted = type(request)
        if accepted is not service.accepted_class and (
            accepted is OriginalSocket
            or accepted is socket.socket
            or service.transport.has_sessions
        ):
            request = listening.adopt(request, service.accepted_class)
        if service.checks_newcomers and not service.let_in(request, client_address):
            return None
        if run is not None and run.is_of_streams:
            run.offered = request
        try:
            # As in socketserver an error leaves serve_forever; its client goes before.
            is_wanted = False
            try:
                is_wanted = server.verify_request(request, client_address)
            finally:
                if not is_wanted:
                    server.shutdown_request(request)
            if is_wanted:
                try:
                    server.process_request(request, client_address)
                except BaseException as error:  # noqa: BLE001 - raised again if it is no error
                    try:
                        service.endings.tell(request, client_address, error)
                    finally:
                        server.shutdown_request(request)
        finally:
            if run is not None and run.offered is not None:
                run.offered = None
                service.clients.leave_to_program(request, client_address)
        return None

    def accept_noting_error(self) -> None:
        """What the hook `_handle_request_noblock` does."""
        self._error = self.accept_one()

    def _accept_through_override(self) -> AcceptError | None:
        """As `accept_one`, through the program's own `_handle_request_noblock`."""
        self._error = None
        self.server._handle_request_noblock()
        return self._error

    def for_run(self) -> tuple[Callable[[], AcceptError | None], Callable[[], int]]:
        """What a run of serve_forever calls to accept, and how often at a wake-up.

        Both through what the program has put around it, if so.
        """
        hook = getattr(self.server._handle_request_noblock, "__func__", None)
        if not getattr(hook, "__module__", "").startswith("greensock."):
            return self._accept_through_override, lambda: 1
        return self.accept_some, self.batch

    #: Accepts one, or more of them at once where that is cheaper.
    accept_some = accept_one

    def batch(self) -> int:
        """How often `accept_some` is called in a row."""
        return 1

    def reply_socket(self) -> Any:
        """What the handlers of datagrams answer through."""
        return self.server.socket

    def await_request(self) -> None:
        """Wait for a request, where a loop of the program's own calls `get_request()`."""

    def close(self) -> None:
        """The server is closed."""

    def leave_hub(self) -> None:
        """The hub ends that this has served in."""


@functools.singledispatch
def acceptor_of(server: object, service: Service) -> Acceptor:
    """What accepts for a server; each kind of them registers its own."""
    return Acceptor(service)
