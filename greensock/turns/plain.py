"""A turn: what is done for a client from "bytes are there" until its handler has used them up.

The same for every mixin; a mixin's runner only says where it runs. Nothing here touches the lot: a
turn tells how it ended, and whoever runs turns parks, goes on with or forgets the client.
"""

from __future__ import annotations

from _socket import MSG_DONTWAIT
from collections.abc import Callable
from typing import Any

from greensock.files.streams import FIRST_READ_SIZE
from greensock.handlers.making import being_made, is_replaced, is_seen_through
from greensock.handlers.traits import HandlerTraits
from greensock.handlers.untaken import wait_for_more
from greensock.hub.workers.demand import Demand
from greensock.lot.client import ENDING, Client
from greensock.lot.outcomes import END, GO_ON, PARK, REQUESTS, Lingering, Outcome
from greensock.sockets.requests import SMALL_READ_SIZE, recv, untaken
from greensock.sockets.waiting import READS_BEFORE_YIELD
from greensock.turns import lingering
from greensock.turns.endings import Endings
from greensock.turns.program import Program
from greensock.turns.single_requests import run_alone, serve_one
from greensock.turns.unbuffered import run_unbuffered_turn


class Turns:
    """How the turns of one server's clients are run.

    Args:
        program: the server.
        endings: ends its clients.
        keeps_unread: whether what a turn has received and not read is there for the next.
        renew: called once the program's RequestHandlerClass is another; it sets `traits`.
    """

    def __init__(
        self,
        program: Program,
        traits: HandlerTraits,
        endings: Endings,
        keeps_unread: bool,
        renew: Callable[[], None],
    ) -> None:
        self.program = program
        self.traits = traits
        self.endings = endings
        self.keeps_unread = keeps_unread
        self._renew = renew
        #: Bytes of a turn's first read: few, until a client has said more at once.
        self.first_read = SMALL_READ_SIZE
        #: Runs one turn on the hub, with a cooperative request.
        self.run: Callable[[Client], Outcome] = self._first_run()

    def _first_run(self) -> Callable[[Client], Outcome]:
        return self.run_any if self.traits.closes_by_default else self._run_plain

    def followed_by(self, new: Turns) -> Turns:
        """What takes the place of these: there may be clients whose handlers are of this class.

        What these have met may be met again.
        """
        if self.run != self._run_plain and new.run == new._run_plain:
            new.run = new.run_any
        self.traits = new.traits
        return new

    def current_traits(self) -> HandlerTraits:
        """The traits of the handler that the program makes now."""
        if self.traits.handler_class is not self.program.RequestHandlerClass:
            self._renew()
        return self.traits

    def receive_first(self, client: Client) -> bool:
        """Receive what a newcomer has said already; say whether there is something to do for it.

        Most that speak first have spoken by the time they are accepted. Such a one need not be
        parked before its first turn; in a thread, if it hangs up after its answer, not at all.
        """
        if not self.traits.reads_ahead:
            return False
        request = client.request
        try:
            request.unread = request.receive_now(FIRST_READ_SIZE) or b""
        except OSError as error:
            return self.lose(client, error)
        return bool(request.unread)

    def receive_request(self, client: Client) -> bool:
        """Receive what a turn may begin with; say whether it may."""
        return True

    def begins_anyway(self, client: Client) -> bool:
        """Whether what is there of a request is given to its handler, whole or not."""
        handler = client.handler
        return bool(client.request.unread) and (
            # The handler speaks another protocol by now, of which nobody knows what is whole.
            self.program.draining
            or (handler is not None and is_replaced(handler, "handle_one_request"))
        )

    def lose(self, client: Client, error: OSError) -> bool:
        """In an `except` clause: the connection is broken. True: there is its end to be seen to."""
        self.endings.tell_beside(client.request, client.address, error)
        client.end_soon()
        return True

    def look(self, client: Client) -> bool:
        """Whether there is something to do for a client who became ready; may say it is ENDING.

        A thread or child that is started only to find that its client has left costs 30 to 1,000
        times what this look does, and a demand of idle clients who leave together would start one
        each.
        """
        if client.state is ENDING or client.request._closed:
            client.end_soon()
            return True
        try:
            first = client.request.peek_now()
        except OSError:
            first = b""
        if first == b"":
            client.end_soon()
        return first is not None

    def open_handler(self, client: Client) -> Any:
        """Make the client's handler through `finish_request`; None if that has run it whole."""
        request, program, traits = client.request, self.program, self.traits
        if traits.handler_class is not program.RequestHandlerClass:
            traits = self.current_traits()
        if not traits.request_wise:
            program.finish_request(request, client.address)
            return None
        key = id(request)
        being_made[key] = client, traits
        try:
            program.finish_request(request, client.address)
        finally:
            del being_made[key]
        handler = client.handler
        if handler is not None and (
            traits.closes_by_default or not hasattr(handler, "close_connection")
        ):
            handler.close_connection = traits.closes_by_default
        return handler

    def run_any(self, client: Client) -> Outcome:
        """Run one turn of a client whose handler may be of any kind."""
        handler = client.handler
        if handler is None:
            return self._run_plain(client)
        if not handler.rbufsize or client.request.has_messages:
            return run_unbuffered_turn(client, self.traits, self.keeps_unread)
        if self.traits.closes_by_default:
            return self._run_http(client)
        outcome = self._run_plain(client)
        if outcome is PARK and handler.wbufsize:
            handler.wfile.flush()
        return outcome

    def _run_plain(self, client: Client) -> Outcome:
        """As `run_any`, for handlers whose `rbufsize` and `wbufsize` are as they come.

        This and what it calls is all that an exchange costs beside its two system calls. So the
        first read of a request is made here and not by a method of it; and what few handlers have
        is looked for when they are made: once it is met, turns are run by `run_any`.
        """
        handler = client.handler
        if handler is None:
            handler = self.open_handler(client)
            if handler is None:
                return END
            if not handler.rbufsize or handler.wbufsize or client.request.has_messages:
                if self.run == self._run_plain:
                    self.run = self.run_any
                return self.run_any(client)
        request, rfile = client.request, handler.rfile
        size = self.first_read
        for _ in REQUESTS:
            if request.unread:
                if untaken and request in untaken and (ended := wait_for_more(request)) is not None:
                    return ended
                data, at = request.unread, request.unread_at
            else:
                at = 0
                try:
                    data = recv(request, size, MSG_DONTWAIT)
                except BlockingIOError:
                    break
                if not data:
                    return END
                request.unread = data
                if len(data) < size:
                    request.reads_left = 0
                else:
                    request.reads_left = READS_BEFORE_YIELD
                    if size < FIRST_READ_SIZE:
                        self.first_read = size = FIRST_READ_SIZE
            handler.handle_one_request()
            if handler.rfile is not rfile or handler.connection is not request:
                if not is_seen_through(handler, request):
                    return run_alone(client, self.traits)
                rfile = handler.rfile
            if handler.close_connection or request._closed:
                return END
            if request.unread:
                is_untaken = request.unread is data and request.unread_at == at
                if is_untaken and (ended := wait_for_more(request)) is not None:
                    return ended
            elif not request.reads_left:
                break
        else:
            return GO_ON
        return PARK

    def _run_http(self, client: Client) -> Outcome:
        """Run one turn of a handler of http.server's, for what has been received already."""
        request, traits = client.request, self.traits
        if untaken and request in untaken and (ended := wait_for_more(request)) is not None:
            return ended
        run = traits.runner_of(client.handler)
        for _ in REQUESTS:
            if not request.unread:
                return PARK
            outcome = serve_one(client, traits, run)
            if outcome is not None:
                return outcome
        return GO_ON

    def run_lingering(
        self, client: Client, linger: float, demand: Demand | None, turn: Lingering
    ) -> Outcome:
        """Run one turn where a thread or child blocks for it; see `turns.lingering.run`."""
        return lingering.run(self, client, linger, demand, turn)

    def serve(self, client: Client, run: Callable[[Client], Outcome] | None = None) -> Outcome:
        """Run a turn, or end a client of whom nothing is left to be run but its end.

        Args:
            run: what runs it, in place of `self.run`.

        Raises:
            BaseException: as `serve_by`.
        """
        if client.state is ENDING:
            self.note_left(client)
            self.endings.end(client)
            return END
        return self.serve_by(run or self.run, client)

    def serve_by(self, run: Callable[[Client], Outcome], client: Client) -> Outcome:
        """Run a turn to its outcome; if that is END, the client was ended as the hooks want it.

        Raises:
            BaseException: what the handler raised that is no Exception; the client is ended too.
        """
        try:
            outcome = run(client)
        except BaseException as error:  # noqa: BLE001 - raised again if it is no error
            self.endings.end_after(client, error)
            return END
        if outcome is END:
            self.endings.end(client)
        return outcome

    def end(self, client: Client) -> None:
        """End a client who has left, was silent for too long, or has to go, beside others.

        Raises:
            BaseException: in the main greenlet, what is for the program's owner.
        """
        self.note_left(client)
        self.endings.end_one_of_many(client, None)

    def note_left(self, client: Client) -> None:
        """Told that a client ends between two turns."""
