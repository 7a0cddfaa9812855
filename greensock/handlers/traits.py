"""What a server needs to know of a handler class: how it reads, and so what may be done for it.

A class of the standard library, or one that a program has built on it, is told by what it is, and
also where it wraps its base's handle() in a known way (see `wrapped_handle`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from greensock.files import framing
from greensock.handlers.classes import (
    BaseRequestHandler,
    KeepAliveRequestHandler,
    StreamRequestHandler,
)
from greensock.handlers.making import Absent, class_of
from greensock.handlers.wrapped_handle import (
    handle_one,
    http_handler_class,
    is_from,
    is_known_wrapper,
)
from greensock.sockets.accepted_kinds import has_messages, is_local

# As they come: a program may put something of its own in their place.
_KEEP_ALIVE_HANDLE = KeepAliveRequestHandler.handle
_STANDARD: dict[str, Any] = {
    "__init__": BaseRequestHandler.__init__,
    "setup": StreamRequestHandler.setup,
    "finish": StreamRequestHandler.finish,
}
#: The same of the standard library: module and name.
_STANDARD_THERE = {
    "__init__": (
        ("socketserver", "BaseRequestHandler.__init__"),
        ("http.server", "SimpleHTTPRequestHandler.__init__"),
    ),
    "setup": (("socketserver", "StreamRequestHandler.setup"),),
    "finish": (("socketserver", "StreamRequestHandler.finish"),),
}


def _is_standard(cls: Any, name: str) -> bool:
    """Whether a method is greensock's or the standard library's, with nothing around it."""
    method = getattr(cls, name, None)
    return method is _STANDARD[name] or any(is_from(method, *it) for it in _STANDARD_THERE[name])


def _asks_as_http(cls: Any) -> bool:
    """Whether the class's handle_one_request() is http.server's.

    One of the program's own may speak first, or wait for more than one request: there it is called
    before there is anything to read.
    """
    handle = getattr(cls, "handle_one_request", None)
    return is_from(handle, "http.server", "BaseHTTPRequestHandler.handle_one_request")


def _loops_over_requests(cls: Any) -> bool:
    """Whether the class's handle() is known to be a loop over handle_one_request()."""
    handle = getattr(cls, "handle", None)
    if handle is _KEEP_ALIVE_HANDLE:
        return True
    is_loop = is_from(handle, "http.server", "BaseHTTPRequestHandler.handle")
    return (is_loop or is_known_wrapper(cls)) and _asks_as_http(cls)


def _may_be_asked(cls: Any) -> bool:
    """Whether handle_one_request() may be called in place of the class's handle()."""
    parkable = getattr(cls, "parkable", None)
    if not isinstance(cls, type) or parkable is False:
        return False
    return callable(getattr(cls, "handle_one_request", None)) and (
        parkable is True or _loops_over_requests(cls)
    )


def is_request_wise(handler_class: Any) -> bool:
    """Whether a server may run the turns of `handler_class` itself, and park in between.

    What the setup() of a handler of http.server's keeps for its thread is there for each request:
    so one with a setup() of its own is not, unless it says that it can do without.
    """
    cls = class_of(handler_class)
    if not _may_be_asked(cls):
        return False
    return (
        getattr(cls, "parkable", None) is True
        or http_handler_class(cls) is None
        or _is_standard(cls, "setup")
    )


def waits_for_data(handler_class: Any) -> bool:
    """Whether a client is parked until its first byte, before there is a handler for it."""
    cls = class_of(handler_class)
    defer = getattr(cls, "defer_until_data", None)
    if defer is not None:
        return bool(defer)
    reads_first = is_request_wise(cls) or _serves_one_request(cls)
    return reads_first and _is_standard(cls, "setup")


def _serves_one_request(cls: Any) -> bool:
    """Whether the class's handle() is wsgiref's: it reads a request, answers it, and returns."""
    handle = getattr(cls, "handle", None)
    return is_from(handle, "wsgiref.simple_server", "WSGIRequestHandler.handle")


def _is_made_plainly(cls: Any) -> bool:
    """Whether making a handler of the class runs no code of the program."""
    return (
        type(cls).__call__ is type.__call__
        and cls.__new__ is object.__new__
        and cls.__setattr__ is object.__setattr__
        and _is_standard(cls, "__init__")
        and _is_standard(cls, "setup")
    )


def _judge_of(cls: Any) -> framing.IsComplete | None:
    """What tells whether a request of the class's clients is whole."""
    if http_handler_class(cls) is not None:
        return framing.has_complete_head if _asks_as_http(cls) else framing.has_begun
    terminator = getattr(cls, "request_terminator", None)
    if terminator is None:
        return None
    return framing.ends_with(terminator, getattr(cls, "max_line_size", None))


def is_own(handler_class: Any, name: str) -> bool:
    """Whether a handler of http.server's has a method of its own in place of the standard one."""
    cls = class_of(handler_class)
    if http_handler_class(cls) is None:
        return False
    if name == "setup":
        return not _is_standard(cls, name)
    return not is_from(getattr(cls, name, None), "http.server", f"BaseHTTPRequestHandler.{name}")


def ends_plainly(handler: Any) -> bool:
    """Whether a client's end runs no code of the program, so that it may be done anywhere."""
    return handler is None or _is_standard(type(handler), "finish")


class HandlerTraits:
    """What a server needs to know of its RequestHandlerClass, found out once.

    `cls`: the class that it makes an instance of. `request_wise`: the server may run its turns.
    `waits_for_data`: a client is parked before there is a handler for it. `parks`: either.
    `closes_by_default`: whether `close_connection` is True until a request says otherwise: it is of
    http.server's. `is_plain_class`: calling the class is nothing but `object.__new__` and its
    `__init__`. `hands_over`: its constructor does by itself what `construct` does for others.
    `one_at_a_time`: its own handle() is called for each request. `timeout`: what its setup() sets
    on the request, if that is known. `needs_request_socket`: a plain socket will not do for it,
    wherever it runs. `begins_unprompted`: its handler begins before its client has said anything.
    `reads_ahead`: what a client has said by the time it is accepted may be received before there is
    a handler for it. `made_anew`: each child may make a handler of its own for the same client.
    `absent`: stands for that in the parent. `made_plainly`: making one runs no code of the program.
    `finishes_plainly`: nor does its end. `keeps_child`: its turns all run in one child.
    `is_complete`: tells whether what a client has said is a whole request; None if nobody can.
    """

    __slots__ = (
        "absent",
        "begins_unprompted",
        "closes_by_default",
        "cls",
        "finishes_plainly",
        "handler_class",
        "hands_over",
        "is_complete",
        "is_plain_class",
        "keeps_child",
        "made_anew",
        "made_plainly",
        "needs_request_socket",
        "one_at_a_time",
        "parks",
        "reads_ahead",
        "request_wise",
        "timeout",
        "waits_for_data",
    )

    def __init__(self, handler_class: Any) -> None:
        self.handler_class = handler_class
        cls = self.cls = class_of(handler_class)
        self.request_wise = is_request_wise(cls)
        self.waits_for_data = waits_for_data(cls)
        self.made_plainly = isinstance(cls, type) and _is_made_plainly(cls)
        self.made_anew = self.request_wise and (
            self.made_plainly or getattr(cls, "parkable", None) is True
        )
        sets_up_as_known = self.made_anew or _is_standard(cls, "setup")
        self.timeout = getattr(cls, "timeout", None) if sets_up_as_known else None
        self.parks = self.request_wise or self.waits_for_data
        self.begins_unprompted = not self.waits_for_data
        # Without a buffer, nothing may be read but by the handler itself.
        self.reads_ahead = (
            self.request_wise and self.waits_for_data and getattr(cls, "rbufsize", -1) != 0
        )
        self.keeps_child = False
        self.is_complete = _judge_of(cls) if self.request_wise else None
        self.needs_request_socket = (
            self.parks or _may_be_asked(cls) or getattr(cls, "max_line_size", None) is not None
        )
        new: Any = getattr(handler_class, "__new__", None)
        self.is_plain_class = type(handler_class) is type and new is object.__new__
        self.hands_over = isinstance(cls, type) and issubclass(cls, BaseRequestHandler)
        self.closes_by_default = http_handler_class(cls) is not None
        self.one_at_a_time = (
            self.request_wise
            and self.closes_by_default
            and not is_from(cls.handle, "http.server", "BaseHTTPRequestHandler.handle")
        )
        self.finishes_plainly = _is_standard(cls, "finish")
        self.absent = Absent(cls)

    def over(self, listener: Any) -> HandlerTraits:
        """The traits of the same class for what `listener` accepts, without TLS."""
        if has_messages(listener):
            # Of a message all that is not received at once is lost: nobody but the handler does.
            self.reads_ahead = False
            self.is_complete = None
        elif self.request_wise and is_local(listener):
            # Received by the request, which keeps what comes beside the bytes.
            self.is_complete = self.is_complete or framing.is_something
        return self

    def runner_of(self, handler: Any) -> Callable[[], object]:
        """What serves one request of a handler whose turns the server runs."""
        if self.one_at_a_time:
            return functools.partial(handle_one, handler)
        return handler.handle_one_request  # type: ignore[no-any-return]

    def in_children(self) -> HandlerTraits:
        """The traits of the same class where turns run in children.

        What cannot be made anew in each has one for as long as it lives.
        """
        if not self.made_anew:
            # Without a buffer, nothing may be read between two turns.
            self.keeps_child = _may_be_asked(self.cls) and getattr(self.cls, "rbufsize", -1) != 0
            self.request_wise = False
            self.parks = self.waits_for_data
        return self

    def over_tls(self, in_children: bool) -> HandlerTraits:
        """The traits of the same class where clients begin with a handshake.

        All are parked until their first byte, whatever the handler is like. In children, no turn is
        taken from the one that has made the handshake: the session is in its memory.
        """
        self.parks = self.waits_for_data = True
        self.reads_ahead = False
        self.is_complete = None
        self.keeps_child = _may_be_asked(self.cls) and in_children
        self.request_wise = self.request_wise and not in_children
        return self
