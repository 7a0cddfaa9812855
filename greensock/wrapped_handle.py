"""Handlers of http.server whose class has a handle() around the one that loops.

http.server's own handle() calls `handle_one_request()` until `close_connection`. Programs wrap it,
mostly to say what becomes of an exception:

    def handle(self):
        try:
            super().handle()
        except ConnectionError as error:
            self.connection_dropped(error)

A server can call such a handle() for each request by itself, and park the client in between: it
has the inner loop end after one request (`one_at_a_time`). Nobody can tell that from one call for
them all if, as here, it does nothing of its own unless there is an exception. That is what
`only_wraps` finds out: it looks at the instructions from the start of the function to its return.
They must be those that this interpreter compiles `super().handle()` to, and no other. Code that
runs on exceptions only is not among them; a `finally`, a counter or a line of log before or after
the call is, and such a handler keeps its greenlet, thread or child unless it says `parkable`.
"""

from __future__ import annotations

import dis
import functools
import sys
from collections.abc import Callable
from types import CodeType, FunctionType
from typing import Any

#: What differs between two functions that do the same: closures, `try`, the place of a line.
_WITHOUT_EFFECT = {
    "CACHE",
    "COPY_FREE_VARS",
    "EXTENDED_ARG",
    "MAKE_CELL",
    "NOP",
    "PUSH_NULL",
    "RESUME",
}
#: Instructions for the same, by what else the function or its module has: closures, imports.
_SAME = {
    "LOAD_DEREF": "LOAD_FAST",
    "LOAD_FAST_BORROW": "LOAD_FAST",
    "LOAD_METHOD": "LOAD_ATTR",
}

#: Handlers that are in a wrapped handle(), by id: whether the client is to be closed afterwards.
_closes: dict[int, bool] = {}


def is_from(thing: Any, module: str, name: str) -> bool:
    """Whether a class or function is `name` of the standard library's `module`.

    By name, because importing http.server would cost every server its 30 ms. Run by `python -m`,
    the module's own name is another.
    """
    if getattr(thing, "__qualname__", None) != name:
        return False
    found = thing.__module__
    if found == "__main__":
        found = getattr(getattr(sys.modules[found], "__spec__", None), "name", found)
    return bool(found == module)


def http_handler_class(handler_class: Any) -> type | None:
    """The BaseHTTPRequestHandler that the class derives from, or None."""
    for base in getattr(handler_class, "__mro__", ()):
        if is_from(base, "http.server", "BaseHTTPRequestHandler"):
            return base  # type: ignore[no-any-return]
    return None


def only_wraps(handler_class: type) -> bool:
    """Whether each handle() above http.server's does nothing but to call the next."""
    base = http_handler_class(handler_class)
    if base is None:
        return False
    # From http.server's own outwards, each must call the one before.
    following = vars(base)["handle"]
    for cls in reversed(handler_class.__mro__[: handler_class.__mro__.index(base)]):
        handle = vars(cls).get("handle")
        if handle is None:
            continue
        if not _only_calls(following, handle, cls):
            return False
        following = handle
    return True


def _only_calls(following: Any, handle: Any, owner: type) -> bool:
    """Whether `handle`, defined in `owner`, only calls `following`, which super() comes to."""
    if type(handle) is not FunctionType or "super" in handle.__globals__:
        return False
    code = handle.__code__
    if code.co_argcount + code.co_kwonlyargcount != 1 or "handle" not in code.co_names:
        return False
    me = code.co_varnames[0]
    names = code.co_names[: code.co_names.index("handle")]
    if names == ("super",):
        call = "super().handle()"
    elif names[:1] == ("super",):
        if len(names) != 2 or handle.__globals__.get(names[1]) is not owner:
            return False
        call = f"super({names[1]}, {me}).handle()"
    else:
        if getattr(_look_up(names, handle.__globals__), "handle", None) is not following:
            return False
        call = f"{'.'.join(names)}.handle({me})"
    path = _path_without_exceptions(code)
    return path is not None and path in _paths_of(call, me)


def _look_up(names: tuple[str, ...], namespace: dict[str, Any]) -> Any:
    found = namespace.get(names[0]) if names else None
    for name in names[1:]:
        found = getattr(found, name, None)
    return found


@functools.lru_cache(maxsize=64)
def _paths_of(call: str, me: str) -> tuple[Any, ...]:
    """The paths of the functions that do nothing but `call`, as this interpreter compiles them."""
    paths = []
    for body in (f"{call}", f"return {call}", f"try: {call}\n  except E: pass"):
        source = f"class C:\n def handle({me}):\n  {body}"
        [class_code] = _codes_in(compile(source, "<only a call>", "exec"))
        [code] = _codes_in(class_code)
        paths.append(_path_without_exceptions(code))
    return tuple(paths)


def _codes_in(code: CodeType) -> list[CodeType]:
    return [const for const in code.co_consts if isinstance(const, CodeType)]


def _path_without_exceptions(code: CodeType) -> list[tuple[str, Any]] | None:
    """What is executed from the start to the return; None if that depends on anything."""
    instructions = list(dis.get_instructions(code))
    at = {each.offset: index for index, each in enumerate(instructions)}
    path: list[tuple[str, Any]] = []
    index = 0
    while index < len(instructions) and len(path) < len(instructions):
        each = instructions[index]
        if each.opname == "JUMP_FORWARD":
            index = at[each.argval]
            continue
        if each.opcode in dis.hasjrel or each.opcode in dis.hasjabs:
            return None
        if each.opname not in _WITHOUT_EFFECT:
            path.append((_SAME.get(each.opname, each.opname), each.argval))
        if each.opname.startswith("RETURN_"):
            return path
        index += 1
    return None


@functools.lru_cache(maxsize=256)
def one_at_a_time(handler_class: Any) -> Any:
    """A subclass that calls the class's handle() for each request by itself."""

    def handle_one_request(self: Any) -> None:
        key = id(self)
        if key in _closes:
            # Called from within handle(): what it was called for is done after this one.
            handler_class.handle_one_request(self)
            _closes[key] = self.close_connection
            self.close_connection = True
            return
        _run_handle(self)

    def lose(self: Any, error: BaseException) -> None:
        """Have handle() meet an error that came while the client was parked."""

        def fail() -> None:
            raise error

        self.handle_one_request = fail
        try:
            _run_handle(self)
        finally:
            del self.handle_one_request

    def _run_handle(self: Any) -> None:
        key = id(self)
        _closes[key] = True
        try:
            handler_class.handle(self)
        except BaseException:
            # It has had its say about this one.
            self.__class__ = handler_class
            raise
        finally:
            self.close_connection = _closes.pop(key)

    names = {
        "handle_one_request": handle_one_request,
        _LOSE: lose,
        "__doc__": handler_class.__doc__,
        "__module__": handler_class.__module__,
        "__qualname__": handler_class.__qualname__,
    }
    return type(handler_class.__name__, (handler_class,), names)


_LOSE = "_lose_client"


def loser(handler: Any) -> Callable[[Any, BaseException], None] | None:
    """What tells a handler's handle() of an error that came between two requests, if it is to."""
    return getattr(type(handler), _LOSE, None)
