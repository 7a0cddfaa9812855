"""Accepting a request, and offering it to the program's hooks."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from greensock import endings
from greensock.client_care import ClientCare
from greensock.net import listening
from greensock.net.listening import AcceptError
from greensock.net.request_sockets import OriginalSocket


class Accepting(ClientCare):
    """The part of BaseServer between its listener and `process_request`."""

    if TYPE_CHECKING:
        verify_request: Callable[[Any, Any], bool]
        process_request: Callable[[Any, Any], None]
        get_request: Callable[[], tuple[Any, Any]]

    def _handle_request_noblock(self) -> None:
        """Process the request that is there now; none if get_request raises OSError.

        As private as in the standard library, and overridden as there.
        """
        self._gs_accept_error = self._gs_accept_one()

    def _gs_accept_through_override(self) -> AcceptError | None:
        """As `_gs_accept_one`, through the program's own `_handle_request_noblock`."""
        self._gs_accept_error = None
        self._handle_request_noblock()
        return self._gs_accept_error

    def _gs_next_request(self) -> tuple[Any, Any] | AcceptError:
        """Call get_request, where a request is there or was there a moment ago."""
        serving = self._gs_serving
        if serving is not None:
            serving.accepting = True
        try:
            return self.get_request()
        except OSError as error:
            return listening.classify(error)
        finally:
            if serving is not None:
                serving.accepting = False

    def _gs_accept_one(self) -> AcceptError | None:
        serving = self._gs_serving
        try:
            # As `_gs_next_request`, without its call: this is where every connection comes by.
            if serving is not None:
                serving.accepting = True
            request, client_address = self.get_request()
        except OSError as error:
            return listening.classify(error)
        finally:
            if serving is not None:
                serving.accepting = False
        self._gs_counters.accepted += 1
        accepted = type(request)
        if accepted is not self._gs_accepted_class and (
            accepted is OriginalSocket or accepted is socket.socket or self._gs_tls is not None
        ):
            request = listening.adopt(request, self._gs_accepted_class)
        if self._gs_checks_newcomers and not self._gs_let_in(request, client_address):
            return None
        if serving is not None and serving.is_of_streams:
            serving.offered = request
        try:
            # As in socketserver an error leaves serve_forever; its client goes before.
            is_wanted = False
            try:
                is_wanted = self.verify_request(request, client_address)
            finally:
                if not is_wanted:
                    self.shutdown_request(request)
            if is_wanted:
                try:
                    self.process_request(request, client_address)
                except BaseException as error:  # noqa: BLE001 - raised again if it is no error
                    try:
                        endings.tell(self, request, client_address, error)
                    finally:
                        self.shutdown_request(request)
        finally:
            if serving is not None and serving.offered is not None:
                serving.offered = None
                self._gs_leave_to_program(request, client_address)
        return None

    #: What the serving loop calls: `_gs_accept_one`, or more of them at once where that is cheaper.
    _gs_accept_some = _gs_accept_one

    _gs_accept_error: AcceptError | None = None

    def _gs_acceptor(self) -> Callable[[], AcceptError | None]:
        """What accepts for the serving loop: through what the program has put around it, if so."""
        hook = getattr(self._handle_request_noblock, "__func__", None)
        if getattr(hook, "__module__", "").startswith("greensock."):
            return self._gs_accept_some
        return self._gs_accept_through_override

    def _gs_accept_batch(self) -> int:
        return 1
