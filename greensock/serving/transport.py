"""How the bytes of a server's clients come: as they are, or through TLS."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from greensock.handlers.traits import HandlerTraits
from greensock.hub.workers.kept_children import KeptChild
from greensock.lot.client import Client
from greensock.lot.outcomes import Outcome
from greensock.sockets.cooperative import CooperativeSocket
from greensock.sockets.lingering import LingeringSocket
from greensock.sockets.requests import OriginalSocket, is_request_socket
from greensock.turns import kept as kept_turns
from greensock.turns.endings import Endings
from greensock.turns.framed import FramedTurns
from greensock.turns.plain import Turns

if TYPE_CHECKING:
    from greensock.serving.service import Service


class Transport:
    """Bytes as they come; `greensock.tls.transport` has the other one.

    Args:
        service: whose clients speak by it.
    """

    #: Whether a client has a session, which begins with words of its own.
    has_sessions = False

    def __init__(self, service: Service) -> None:
        self._service = service

    def traits_of(self, handler_class: Any) -> HandlerTraits:
        """What is to be known of a handler whose client speaks by this."""
        traits = HandlerTraits(handler_class)
        if self._service.runner.in_children:
            traits = traits.in_children()
        return traits.over(self._service.known_listener)

    def new_request(self) -> Callable[..., OriginalSocket]:
        """What makes a request of an accepted descriptor, as it suits where handlers run."""
        return self._service.runner.request_class()

    def new_turns(
        self,
        traits: HandlerTraits,
        endings: Endings,
        keeps_unread: bool,
        renew: Callable[[], None],
    ) -> Turns:
        """How the turns of those clients are run; the arguments are those of `Turns`."""
        kind = Turns if traits.is_complete is None else FramedTurns
        return kind(self._service.server, traits, endings, keeps_unread, renew)

    def greet(self, request: Any, client_address: Any) -> bool:
        """Complete what a client's session begins with; say whether there is one."""
        return True

    def cooperative(self, request: Any) -> Any:
        """A newcomer's request, for the hub to speak with in place of a thread or child."""
        if type(request) is OriginalSocket or type(request) is LingeringSocket:
            return CooperativeSocket(fileno=request.detach())
        return request

    def note_silence(self, client: Client) -> None:
        """Note a parked client whose time is over."""
        self._service.note_silence(client)

    def keeps_child(self, client: Client) -> bool:
        """Whether all turns of this client run in the child that is about to be forked."""
        return self._service.turns.traits.keeps_child and is_request_socket(client.request)

    def run_kept(self, client: Client, kept: KeptChild) -> Outcome:
        """In that child: run them."""
        return kept_turns.run_all(self._service, client, kept)

    def close(self) -> None:
        """Nobody serves any more: let go of those whose session is still to end."""

    def stay_behind(self) -> list[Any]:
        """In a child of the program's: the requests of those, who are the parent's."""
        return []
