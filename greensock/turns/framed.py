"""Requests that begin only once they are whole.

Where the server can tell where a request ends, it receives it itself: until then its client stays
parked, and half a request, however slowly the rest comes, costs no greenlet, thread or child.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from greensock.files.framing import IsWhole
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

    def has_spoken(self, client: Client) -> bool:
        """As for others; what was said of a request is kept until it is whole."""
        traits = self.traits
        if not traits.reads_ahead or traits.is_whole is None:
            return super().has_spoken(client)
        return self._receives(client, traits.is_whole)

    def may_begin(self, client: Client) -> bool:
        """Whether the next request of a ready client is whole, or will never be."""
        is_whole = self._judge_of(client)
        return is_whole is None or self._receives(client, is_whole) or self.begins_anyway(client)

    def _judge_of(self, client: Client) -> IsWhole | None:
        """What tells whether the client's next request is whole; None if nothing does."""
        traits, handler = self.traits, client.handler
        reads_ahead = traits.reads_ahead if handler is None else handler.rbufsize
        return traits.is_whole if reads_ahead and client.state is not ENDING else None

    def _receives(self, client: Client, is_whole: IsWhole) -> bool:
        try:
            return bool(client.request.receive_whole(is_whole))
        except OSError as error:
            return self.lose(client, error)

    def _run_framed(self, client: Client) -> Outcome:
        traits = self.current_traits()
        begins_first = client.handler is None and not traits.reads_ahead
        if begins_first and traits.is_whole is not None and self.open_handler(client) is None:
            return END
        is_whole = self._judge_of(client)
        if is_whole is None:
            return self.run_any(client)
        handler, request = client.handler, client.request
        if untaken and request in untaken and (outcome := wait_for_more(request)) is not None:
            return outcome
        for _ in REQUESTS:
            try:
                begins = request.receive_whole(is_whole) or self.begins_anyway(client)
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
            outcome = self._serve_whole_one(client, handler, request)
            if outcome is not None:
                return outcome
            if not request.unread:
                break
        else:
            return GO_ON
        if handler is not None and handler.wbufsize:
            handler.wfile.flush()
        return PARK

    def _serve_whole_one(self, client: Client, handler: Any, request: Any) -> Outcome | None:
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
