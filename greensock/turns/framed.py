"""Requests that begin only once they are whole.

Where the server can tell where a request ends, it receives it itself: until then its client stays
parked, and half a request, however slowly the rest comes, costs no greenlet, thread or child.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from greensock.files.framing import IsComplete
from greensock.handlers import wrapped_handle
from greensock.handlers.untaken import wait_for_more
from greensock.lot.client import ENDING, Client
from greensock.lot.outcomes import END, GO_ON, PARK, REQUESTS, Outcome
from greensock.sockets.requests import untaken
from greensock.turns.plain import Turns
from greensock.turns.single_requests import is_changed, run_alone, serve_one


class FramedTurns(Turns):
    """The turns of clients whose requests have a known end."""

    def _first_run(self) -> Callable[[Client], Outcome]:
        return self._run_framed

    def receive_first(self, client: Client) -> bool:
        """As for others; what was said of a request is kept until it is whole."""
        traits = self.traits
        if not traits.reads_ahead or traits.is_complete is None:
            return super().receive_first(client)
        return self._receives(client, traits.is_complete)

    def receive_request(self, client: Client) -> bool:
        """Whether the next request of a ready client is whole, or will never be."""
        is_complete = self._judge_of(client)
        return (
            is_complete is None or self._receives(client, is_complete) or self.begins_anyway(client)
        )

    def _judge_of(self, client: Client) -> IsComplete | None:
        """What tells whether the client's next request is whole; None if nothing does."""
        traits, handler = self.traits, client.handler
        reads_ahead = traits.reads_ahead if handler is None else handler.rbufsize
        return traits.is_complete if reads_ahead and client.state is not ENDING else None

    def _receives(self, client: Client, is_complete: IsComplete) -> bool:
        try:
            return bool(client.request.receive_until(is_complete))
        except OSError as error:
            return self.lose(client, error)

    def _run_framed(self, client: Client) -> Outcome:
        traits = self.current_traits()
        begins_first = client.handler is None and not traits.reads_ahead
        if begins_first and traits.is_complete is not None and self.open_handler(client) is None:
            return END
        is_complete = self._judge_of(client)
        if is_complete is None:
            return self.run_any(client)
        handler, request = client.handler, client.request
        if untaken and request in untaken and (outcome := wait_for_more(request)) is not None:
            return outcome
        for _ in REQUESTS:
            try:
                begins = request.receive_until(is_complete) or self.begins_anyway(client)
            except OSError as error:
                if handler is None or not traits.one_at_a_time:
                    raise
                # Its own handle() would have met it.
                wrapped_handle.meet(handler, error)
                return END
            if not begins:
                break
            if handler is None and (handler := self.open_handler(client)) is None:
                return END
            if not request.unread:
                return END
            outcome = self._serve_complete_one(client, handler, request)
            if outcome is not None:
                return outcome
            if not request.unread:
                break
        else:
            return GO_ON
        if handler is not None and handler.wbufsize:
            handler.wfile.flush()
        return PARK

    def _serve_complete_one(self, client: Client, handler: Any, request: Any) -> Outcome | None:
        """Serve one request that has been received; None if the turn may go on."""
        data, at, traits = request.unread, request.unread_at, self.traits
        if traits.closes_by_default:
            return serve_one(client, traits, traits.runner_of(handler))
        rfile = handler.rfile
        handler.handle_one_request()
        if is_changed(handler, request, rfile):
            return run_alone(client, traits)
        if handler.close_connection or request._closed:
            return END
        if request.unread and request.unread is data and request.unread_at == at:
            return wait_for_more(request)
        return None
