"""Making a client's handler, and taking it from its constructor before that runs it.

The constructor of a handler runs it whole: `setup()`, `handle()`, `finish()`. A server that is to
run the turns itself wants the handler as it is after `setup()`. The constructor is reached through
`finish_request`, which programs override to pass more arguments: so what the server wants is noted
by the request, and found out where the constructor comes to `handle()`.
"""

from __future__ import annotations

import contextlib
import functools
import socket
from collections.abc import Callable
from typing import Any

from greensock.files.socket_file import Altered
from greensock.files.streams import SocketReader
from greensock.lot.client import Client

#: Clients whose handler is being made, and the `HandlerTraits` of that, by the id of their request.
being_made: dict[int, tuple[Client, Any]] = {}


class Absent:
    """In place of the handler of a parked client, where each child makes its own.

    It says that there was one, and what the server has to know of it. `says_goodbye`: the child in
    which the client ends is to call `on_drain`.
    """

    def __init__(self, handler_class: Any, says_goodbye: bool = False) -> None:
        self.rbufsize = getattr(handler_class, "rbufsize", -1)
        self.says_goodbye = says_goodbye

    def finish(self) -> None:
        """Nothing of the handler is left to finish here."""


def class_of(handler_class: Any) -> Any:
    """The class that a RequestHandlerClass makes an instance of, seen through functools.partial."""
    while type(handler_class) is functools.partial:
        handler_class = handler_class.func
    return handler_class


def is_seen_through(handler: Any, request: Any) -> bool:
    """Whether all that a handler reads comes through `request`, and is kept there until then.

    A reader or connection of its own might hold bytes where nobody else sees them, and another
    descriptor: such a client must not be parked.
    """
    rfile: Any = getattr(handler, "rfile", None)
    kind = type(rfile)
    if not issubclass(kind, SocketReader):
        # Unbuffered; its own attributes are none of its class's.
        if kind is not socket.SocketIO or any(hasattr(kind, name) for name in vars(rfile)):
            return False
    elif issubclass(kind, Altered):
        return False
    return (
        rfile._sock is request
        and getattr(handler, "connection", None) is request
        and handler.request is request
    )


def hand_over(handler: Any) -> bool:
    """Give a set-up handler to the server that is making it, if that is to run its turns.

    In place of handle(). A function of the handler's own over one of its class's is not passed by.
    """
    made = being_made.get(id(handler.request))
    if made is None:
        return False
    client, traits = made
    if type(handler) is not traits.cls or not (
        # Then nothing of the program's has had to do with it yet.
        traits.made_plainly
        or (
            is_seen_through(handler, client.request)
            and not is_replaced(handler, "handle")
            and not is_replaced(handler, "handle_one_request")
        )
    ):
        return False
    client.handler = handler
    return True


def is_replaced(handler: Any, name: str) -> bool:
    """Whether a handler has something of its own over a method of its class."""
    method = getattr(handler, name, None)
    return getattr(method, "__func__", None) is not getattr(type(handler), name, None)


def construct(handler_class: Any, request: Any, client_address: Any, server: Any) -> None:
    """Make the handler of a request; it has run when this returns, or was handed over.

    For classes that know nothing of handing over: built on the standard library's own socketserver,
    as `http.server` is as it comes.
    """
    if id(request) in being_made and isinstance(class_of(handler_class), type):
        handler_class = _without_running(handler_class)
    handler_class(request, client_address, server)


def _without_running(handler_class: Any) -> Callable[..., Any]:
    """What does as calling a class does, or a partial of one, but hands the handler over."""
    if type(handler_class) is functools.partial:
        make = _without_running(handler_class.func)
        return functools.partial(make, *handler_class.args, **handler_class.keywords)
    if type(handler_class).__call__ is not type.__call__:
        # A metaclass of the program's makes its instances.
        return handler_class  # type: ignore[no-any-return]
    return functools.partial(_make, handler_class)


def _make(cls: Any, *args: Any, **kwargs: Any) -> None:
    """Make an instance as calling its class does.

    `handle` and `finish` lie under functions of ours while its constructor runs: on the instance,
    where its class, and who looks at that, sees nothing of it. One that takes no attributes runs as
    a whole.
    """
    handler = cls.__new__(cls, *args, **kwargs)

    def handle() -> None:
        is_ours = _lift(handler, "handle", handle)
        if is_ours and hand_over(handler):
            object.__setattr__(handler, "finish", _stay_unfinished)
        else:
            # Otherwise the handler has put a function of its own over ours, and comes by it here.
            cls.handle(handler)

    if type(handler) is cls:
        with contextlib.suppress(AttributeError):
            object.__setattr__(handler, "handle", handle)
    if cls in type(handler).__mro__:
        try:
            handler.__init__(*args, **kwargs)
        finally:
            _lift(handler, "handle", handle)
            _lift(handler, "finish", _stay_unfinished)


def _lift(handler: Any, name: str, laid: Callable[[], None]) -> bool:
    """Take away what was laid over a method of a handler; False if something else is there."""
    try:
        if object.__getattribute__(handler, name) is not laid:
            return False
        object.__delattr__(handler, name)
    except AttributeError:
        return False
    return True


def _stay_unfinished() -> None:
    """In place of finish(), for a handler that was handed over."""
