"""Handlers of http.server whose class has a handle() around the one that loops.

http.server's own handle() calls `handle_one_request()` until `close_connection`. Programs wrap it,
mostly to say what becomes of an exception:

    def handle(self):
        try:
            super().handle()
        except ConnectionError as error:
            self.connection_dropped(error)

A server can call such a handle() for each request by itself, and park the client in between: it has
the inner loop end after one request. Whether the wrapper bears that nobody can tell but who knows
it: those of `_KNOWN` do, and classes that say `parkable = True`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FunctionType
from typing import Any

#: Wrappers that do nothing of their own unless there is an exception: their module and name.
_KNOWN = (("werkzeug.serving", "WSGIRequestHandler.handle"),)


def _mro(handler_class: Any) -> tuple[type, ...]:
    return handler_class.__mro__ if isinstance(handler_class, type) else ()


def http_handler_class(handler_class: Any) -> type | None:
    """The BaseHTTPRequestHandler that the class derives from, or None.

    By name, because importing http.server would cost every server its 30 ms.
    """
    for base in _mro(handler_class):
        named = base.__qualname__ == "BaseHTTPRequestHandler"
        if named and _module_name(base.__module__) == "http.server":
            return base
    return None


def is_from(function: Any, module: str, name: str) -> bool:
    """Whether a function is that of this name in the source of `module`, and nothing around it.

    A decorator's function may bear its name and module: its code does not.
    """
    return (
        type(function) is FunctionType
        and function.__code__.co_qualname == name
        and _module_name(function.__globals__.get("__name__")) == module
    )


def _module_name(name: Any) -> Any:
    """The name of a module, also where it is run by `python -m`, which gives it another."""
    if name != "__main__":
        return name
    return getattr(getattr(sys.modules[name], "__spec__", None), "name", name)


def is_known_wrapper(handler_class: Any) -> bool:
    """Whether each handle() of the class is a known wrapper, down to http.server's own."""
    handles = [vars(cls)["handle"] for cls in _mro(handler_class) if "handle" in vars(cls)]
    for handle in handles:
        if is_from(handle, "http.server", "BaseHTTPRequestHandler.handle"):
            return True
        if not any(is_from(handle, module, name) for module, name in _KNOWN):
            break
    return False


def handle_one(handler: Any) -> None:
    """Call a handler's handle() for one request."""
    handle_one_request = handler.handle_one_request
    closes = True

    def once() -> None:
        nonlocal closes
        _lift(handler, once)
        handle_one_request()
        # What this was called for is done after this one.
        closes, handler.close_connection = handler.close_connection, True

    _call_handle(handler, once)
    handler.close_connection = closes


def loop(handler: Any) -> None:
    """Serve requests as http.server's handle() does, from the second on."""
    while not handler.close_connection:
        handler.handle_one_request()


def handle_rest(handler: Any) -> None:
    """Call a handler's handle() once for all requests to come."""

    def rest() -> None:
        _lift(handler, rest)
        # As it was before http.server's handle() began.
        handler.close_connection = False
        loop(handler)

    _call_handle(handler, rest)


def meet(handler: Any, error: BaseException) -> None:
    """Have a handler's handle() meet an error that came between two requests."""

    def fail() -> None:
        raise error

    _call_handle(handler, fail)


def _call_handle(handler: Any, in_place: Callable[[], None]) -> None:
    """Call handle(), where handle_one_request() is `in_place`."""
    # On the instance, past a __setattr__ of the program's.
    object.__setattr__(handler, "handle_one_request", in_place)
    try:
        handler.handle()
    finally:
        _lift(handler, in_place)


def _lift(handler: Any, in_place: Callable[[], None]) -> None:
    if handler.handle_one_request is in_place:
        object.__delattr__(handler, "handle_one_request")
