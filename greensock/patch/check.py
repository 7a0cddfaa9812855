"""What a program on greensock is made of: which servers, and whose idle clients are parked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from greensock.handlers.classes import BaseRequestHandler, name_of
from greensock.handlers.making import class_of
from greensock.handlers.traits import HandlerTraits, is_own
from greensock.mixins.forks import ForkingMixIn
from greensock.mixins.greenlets import GreenletMixIn
from greensock.mixins.threads import ThreadingMixIn
from greensock.patch.replacement import Replacement
from greensock.printable import address_in_words, printable
from greensock.servers.base import BaseServer

#: What of a handler of http.server's, defined anew, has it run as a whole.
_OWN = ("handle", "handle_one_request", "setup")

_PLACES: tuple[tuple[type, str], ...] = (
    (GreenletMixIn, "greenlet"),
    (ThreadingMixIn, "thread"),
    (ForkingMixIn, "child"),
)


def describe(module: Replacement, served: Any = None) -> Iterator[str]:
    """Lines about the classes that the program has made so far.

    Args:
        module: what the program imported as socketserver.
        served: the server that was about to serve, or None.
    """
    classes = sorted(_of_program(module), key=_name)
    if served is not None:
        handler = served.RequestHandlerClass
        yield f"serves {_name(handler)} at {address_in_words(served.server_address)}"
        yield f"    {where_turns_run(type(served))}; idle clients: {idle_clients(handler, served)}"
    for kind, base, tell in (
        ("server", BaseServer, where_turns_run),
        ("handler", BaseRequestHandler, idle_clients),
    ):
        for cls in classes:
            if issubclass(cls, base):
                yield f"{kind} {_name(cls)}"
                yield f"    {tell(cls)}"
    if not classes and served is None:
        yield "no server and no handler was made"


def _of_program(module: Replacement) -> set[type]:
    """The classes that the program has derived, from these or from greensock's own."""
    found: set[Any] = set()
    waiting: list[Any] = [BaseServer, BaseRequestHandler, *(base for base, _ in _PLACES)]
    while waiting:
        derived = set(waiting.pop().__subclasses__()) - found
        found |= derived
        waiting += derived
    own = {cls for cls in found if cls.__module__.partition(".")[0] == "greensock"}
    return found - own - set(module.classes)


def where_turns_run(server_class: type) -> str:
    """Where the handlers of a server class run, in words."""
    for mixin, place in _PLACES:
        if issubclass(server_class, mixin):
            return f"each turn of a client in a {place}"
    return "one turn after the other, in serve_forever itself"


def idle_clients(handler_class: Any, server: Any = None) -> str:
    """What an idle client of a handler class costs, in words, and why."""
    traits = HandlerTraits(handler_class)
    # A functools.partial has no attributes of the class's.
    cls = class_of(handler_class)
    if isinstance(server, ForkingMixIn):
        traits = traits.in_children()
    kept = "as long as handle() runs"
    service = getattr(server, "_greensock", None)
    if service is not None and not service.is_of_streams():
        return "none, they send datagrams"
    if traits.request_wise:
        text = "parked" if traits.waits_for_data else "parked from their first request on"
        if traits.one_at_a_time:
            text += "; handle() is called for each request"
        if traits.closes_by_default and getattr(cls, "protocol_version", "") < "HTTP/1.1":
            text += f"; closed after each request, since {cls.protocol_version} is spoken"
        return text
    if traits.waits_for_data:
        return f"parked until their first byte; then they keep where they run for {kept}"
    if getattr(cls, "parkable", None) is False:
        return f"keep where they run for {kept}: parkable is False"
    if traits.keeps_child:
        return "keep their child, which alone has what setup() or the constructor has done"
    if not isinstance(cls, type):
        return (
            f"keep where they run for {kept}: what makes its handlers is no class, so that nobody "
            f"can tell"
        )
    own = next((name for name in _OWN if is_own(handler_class, name)), "handle")
    return f"keep where they run for {kept}: {own}() is the class's own"


def _name(handler_class: Any) -> str:
    module = getattr(class_of(handler_class), "__module__", None) or "?"
    partial = "" if class_of(handler_class) is handler_class else ", by functools.partial"
    return printable(f"{module}.{name_of(handler_class)}{partial}")
