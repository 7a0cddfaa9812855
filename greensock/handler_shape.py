"""What a server needs to know of a handler class: how it reads, and so what may be done for it.

A class of the standard library, or one that a program has built on it, is told by what it is, and
also where it merely wraps its base's handle() (see `wrapped_handle`).
"""

from __future__ import annotations

from typing import Any

from greensock import request_ends
from greensock.handlers import (
    BaseRequestHandler,
    KeepAliveRequestHandler,
    StreamRequestHandler,
    class_of,
)
from greensock.net.accepted_kinds import has_messages, is_local
from greensock.wrapped_handle import (
    http_handler_class,
    is_from,
    one_at_a_time,
    only_wraps,
)


def _loops_over_requests(handler_class: type) -> bool:
    """Whether the class's handle() is known to be a loop over handle_one_request()."""
    handle = getattr(handler_class, "handle", None)
    return handle is KeepAliveRequestHandler.handle or is_from(
        handle, "http.server", "BaseHTTPRequestHandler.handle"
    )


def is_request_wise(handler_class: Any) -> bool:
    """Whether a server may run the turns of `handler_class` itself, and park in between."""
    handler_class = class_of(handler_class)
    parkable = getattr(handler_class, "parkable", None)
    if not isinstance(handler_class, type) or parkable is False:
        return False
    return callable(getattr(handler_class, "handle_one_request", None)) and (
        parkable is True or _loops_over_requests(handler_class) or only_wraps(handler_class)
    )


def waits_for_data(handler_class: Any) -> bool:
    """Whether a client is parked until its first byte, before there is a handler for it."""
    handler_class = class_of(handler_class)
    defer = getattr(handler_class, "defer_until_data", None)
    if defer is not None:
        return bool(defer)
    reads_first = is_request_wise(handler_class) or _serves_one_request(handler_class)
    return reads_first and _is_standard(handler_class, "setup")


def _serves_one_request(handler_class: Any) -> bool:
    """Whether the class's handle() is wsgiref's: it reads a request, answers it, and returns."""
    handle = getattr(handler_class, "handle", None)
    return is_from(handle, "wsgiref.simple_server", "WSGIRequestHandler.handle")


def _is_standard(handler_class: Any, name: str) -> bool:
    """Whether a method is StreamRequestHandler's, greensock's or the standard library's."""
    method = getattr(handler_class, name, None)
    return method is getattr(StreamRequestHandler, name) or is_from(
        method, "socketserver", f"StreamRequestHandler.{name}"
    )


def _judge_of(handler_class: Any) -> request_ends.IsWhole | None:
    """What tells whether a request of the class's clients is whole."""
    if http_handler_class(handler_class) is not None:
        return request_ends.has_whole_head
    terminator = getattr(handler_class, "request_terminator", None)
    if terminator is None:
        return None
    return request_ends.ends_with(terminator, getattr(handler_class, "max_line_size", None))


def ends_plainly(handler: Any) -> bool:
    """Whether a client's end runs no code of the program, so that it may be done anywhere."""
    return handler is None or _is_standard(type(handler), "finish")


class HandlerShape:
    """What a server needs to know of its RequestHandlerClass, found out once.

    `request_wise`: the server may run its turns. `waits_for_data`: a client is parked before there
    is a handler for it. `parks`: either. `closes_by_default`: whether `close_connection` is True
    until a request says otherwise, as in http.server. `is_plain_class`: calling the class is
    nothing but `object.__new__` and its `__init__`. `hands_over`: and that calls `hand_over`.
    `one_at_a_time`: what the handler becomes between its making and its end, so that its own
    handle() is called for each request. `timeout`: what its setup() sets on the request, if that is
    known. `needs_request_socket`: a plain socket will not do for it, wherever it runs.
    `begins_unprompted`: its handler begins before its client has said anything. `reads_ahead`: what
    a client has said by the time it is accepted may be received before there is a handler for it.
    `keeps_child`: its turns all run in one child. `is_whole`: tells whether what a client has said
    is a whole request; None if nobody can.
    """

    __slots__ = (
        "begins_unprompted",
        "closes_by_default",
        "handler_class",
        "hands_over",
        "is_plain_class",
        "is_whole",
        "keeps_child",
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
        self.request_wise = is_request_wise(handler_class)
        self.waits_for_data = waits_for_data(handler_class)
        cls = class_of(handler_class)
        self.timeout = cls.timeout if _is_standard(cls, "setup") else None
        self.parks = self.request_wise or self.waits_for_data
        self.begins_unprompted = not self.waits_for_data
        # Without a buffer, nothing may be read but by the handler itself.
        self.reads_ahead = (
            self.request_wise and self.waits_for_data and getattr(cls, "rbufsize", -1) != 0
        )
        self.keeps_child = False
        self.is_whole = _judge_of(cls) if self.request_wise else None
        self.needs_request_socket = self.parks or getattr(cls, "max_line_size", None) is not None
        new: Any = getattr(handler_class, "__new__", None)
        self.is_plain_class = type(handler_class) is type and new is object.__new__
        self.hands_over = self.is_plain_class and issubclass(handler_class, BaseRequestHandler)
        self.closes_by_default = http_handler_class(cls) is not None
        wraps = self.request_wise and self.closes_by_default and not _loops_over_requests(cls)
        self.one_at_a_time = one_at_a_time(cls) if wraps else None

    def over(self, listener: Any) -> HandlerShape:
        """The shape of the same class for what `listener` accepts, without TLS."""
        if has_messages(listener):
            # Of a message all that is not received at once is lost: nobody but the handler does.
            self.reads_ahead = False
            self.is_whole = None
        elif self.request_wise and is_local(listener):
            # Received by the request, which keeps what comes beside the bytes.
            self.is_whole = self.is_whole or request_ends.is_something
        return self

    def over_tls(self, keeps_child: bool) -> HandlerShape:
        """The shape of the same class where clients begin with a handshake.

        All are parked until their first byte, whatever the handler is like. With `keeps_child` no
        turn is taken from the child that has made the handshake: the session is in its memory.
        """
        self.parks = self.waits_for_data = True
        self.reads_ahead = False
        self.is_whole = None
        self.keeps_child = self.request_wise and keeps_child
        self.request_wise = self.request_wise and not keeps_child
        return self
