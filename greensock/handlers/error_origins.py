"""Whose connection an error of the network comes from: the client's own, or one of the handler's.

Both raise the same: a database that hangs up is a BrokenPipeError, as is a client who has left. The
traceback tells them apart. Its innermost frames are methods of the socket or of a file on it; where
C code was called directly, the instruction says on what. Nothing is noted while handlers run.
Where neither tells, the kernel is asked whether the client's connection is broken at all.
"""

from __future__ import annotations

import contextlib
import dis
import functools
import inspect
import select
from types import CodeType, FrameType
from typing import Any

from gevent import monkey

from greensock.hub.signals.interrupts import left_frames

# Modules whose methods do to a socket what the program asked for.
_LIBRARIES = {"greensock", "gevent", "socket", "socketserver", "ssl"}

# Where a turn's first read is made.
_TURNS = ("greensock.turns.plain", "greensock.tls.turns")

# What a handler calls its client's socket.
_CONNECTIONS = ("request", "connection", "socket")

# Instructions that begin a chain of names, that go on with one, and that leave it as it is.
_ROOTS = ("LOAD_FAST", "LOAD_DEREF", "LOAD_GLOBAL", "LOAD_NAME")
_ATTRIBUTES = ("LOAD_ATTR", "LOAD_METHOD")
_BESIDE = ("EXTENDED_ARG", "KW_NAMES", "LOAD_CONST", "NOP", "PRECALL", "PUSH_NULL")


def is_of_client(error: OSError, request: Any) -> bool:
    """Whether `error`, which a handler raised, is one of its client's connection; False in doubt.

    Args:
        error: a ConnectionError or TimeoutError, with its traceback.
        request: what `get_request` returned; of a datagram, the pair.
    """
    is_stream = not isinstance(request, tuple)
    if is_stream and isinstance(error, ConnectionRefusedError):
        # Nobody refuses who has been accepted.
        return False
    frames = left_frames(error.__traceback__)
    if not frames:
        return False
    if not error.args and isinstance(error, ConnectionError):
        # No system call's: the program's way to say that its client has left.
        return "client_address" in _attributes(frames[-1][0].f_locals.get("self"))
    connections = _connections(request, frames)
    found = _of_methods(frames, connections)
    if found is None:
        innermost = frames[-1]
        called = _called(*innermost)
        if called is None:
            # Without one, it may be an error that is the program's own.
            return error.errno is not None and is_stream and _is_broken(connections)
        return _is_one_of(called, connections)
    return found


def _connections(request: Any, frames: list[tuple[FrameType, int]]) -> list[Any]:
    """The request, and what its handler has put in its place: TLS on top of it, say."""
    found = list(request[1:2]) if isinstance(request, tuple) else [request]
    for frame, _ in frames:
        handler = frame.f_locals.get("self")
        names = _attributes(handler)
        if {"client_address", "request", "server"} <= names.keys():
            # The outermost: what it calls may be another's method.
            found += [names[name] for name in _CONNECTIONS if name in names]
            # Closed by finish(), a file does not know any more what it was on.
            files = [names[name] for name in ("rfile", "wfile") if name in names]
            found += [*files, *(getattr(file, "raw", None) for file in files)]
            break
    return found


def _attributes(thing: Any) -> dict[str, Any]:
    try:
        return dict(vars(thing))
    except TypeError:
        return {}


def _is_one_of(thing: Any, things: list[Any]) -> bool:
    return thing is not None and any(thing is each for each in things)


def _of_methods(frames: list[tuple[FrameType, int]], connections: list[Any]) -> bool | None:
    """What the methods say that the error came through, from the innermost; None: nothing."""
    for frame, _ in reversed(frames):
        me = frame.f_locals.get("self")
        if _is_one_of(me, connections):
            return True
        module = frame.f_globals.get("__name__", "")
        if module.partition(".")[0] not in _LIBRARIES:
            return None
        if module in _TURNS and _is_one_of(frame.f_locals.get("request"), connections):
            # The first read of a turn, unless it was the handler that did not get on.
            return True if frame is frames[-1][0] else None
        for sock in (me, _below(me), frame.f_locals.get("sock")):
            if sock is not None and hasattr(type(sock), "recv"):
                return _is_one_of(sock, connections)
    return None


def _below(file: Any) -> Any:
    """The socket of a file on one."""
    with contextlib.suppress(AttributeError, ValueError):
        return inspect.getattr_static(file, "_sock").__get__(file)
    with contextlib.suppress(AttributeError, ValueError):
        return inspect.getattr_static(file, "_sock")
    return None


def _called(frame: FrameType, at: int) -> Any:
    """What the method belongs to that a frame was calling; None if the code does not say."""
    names = _receiver(frame.f_code, at)
    if names is None:
        return None
    root, *attributes = names
    places = (frame.f_locals, frame.f_globals)
    thing = next((place[root] for place in places if root in place), None)
    for name in attributes[:-1]:
        thing = _attributes(thing).get(name)
    # A method that was looked up before it was called knows what it belongs to.
    return thing if attributes else getattr(thing, "__self__", None)


@functools.lru_cache(maxsize=256)
def _receiver(code: CodeType, at: int) -> tuple[str, ...] | None:
    """The names that lead to what the instruction at an offset calls: self, request, recv."""
    instructions = [each for each in dis.get_instructions(code) if each.offset <= at]
    if not instructions or not instructions[-1].opname.startswith("CALL"):
        return None
    call = _start_of(instructions.pop())
    chain: list[str] = []
    for each in instructions if call is not None else ():
        if _start_of(each) != call or each.opname.startswith(_BESIDE):
            continue
        if each.opname.startswith(_ROOTS):
            chain = [str(each.argval)]
        elif each.opname.startswith(_ATTRIBUTES) and chain:
            chain.append(str(each.argval))
        else:
            chain = []
    return tuple(chain) or None


def _start_of(instruction: dis.Instruction) -> tuple[int, int] | None:
    """Where its expression begins: a call begins where the names do that it calls."""
    where = instruction.positions
    if where is None or where.lineno is None or where.col_offset is None:
        return None
    return where.lineno, where.col_offset


def _is_broken(connections: list[Any]) -> bool:
    """Whether the kernel calls one of them broken, or ended at both ends."""
    poller = monkey.get_original("select", "poll")()
    for each in connections:
        with contextlib.suppress(OSError, ValueError, TypeError, AttributeError):
            if (fd := each.fileno()) >= 0:
                poller.register(fd, 0)
    return any(events & (select.POLLHUP | select.POLLERR) for _, events in poller.poll(0))
