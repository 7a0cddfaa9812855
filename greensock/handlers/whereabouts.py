"""Where a handler is just now, read from the frames of whatever it runs in.

Nothing is noted while handlers run: their frames know all of it, and cost nothing until asked.
"""

from __future__ import annotations

from types import FrameType
from typing import Any, NamedTuple


class Whereabouts(NamedTuple):
    """A handler that runs or waits: itself (None: none was found), and the line that it is at."""

    handler: Any
    line: str


def find(frame: FrameType | None) -> Whereabouts:
    """Find the handler in a stack, from its innermost frame on."""
    handler: Any = None
    frames: list[FrameType] = []
    while frame is not None:
        frames.append(frame)
        each = frame.f_locals.get("self")
        if _is_handler(each):
            # The outermost: what a handler calls may be another's method.
            handler = each
        frame = frame.f_back
    if not frames:
        return Whereabouts(None, "nowhere")
    own = [each for each in frames if handler is not None and _runs_method(each, handler)]
    line = _describe(own[0] if own else frames[0])
    if own and own[0] is not frames[0] and not _is_of_server(frames[0]):
        line += f" (now at {_describe(frames[0])})"
    return Whereabouts(handler, line)


def _is_handler(candidate: Any) -> bool:
    # Looked up past __getattr__, of which a stranger's may do anything.
    try:
        attributes = vars(candidate)
    except TypeError:
        return False
    return "client_address" in attributes and "server" in attributes and "request" in attributes


def _runs_method(frame: FrameType, handler: Any) -> bool:
    return frame.f_locals.get("self") is handler


def _is_of_server(frame: FrameType) -> bool:
    module = frame.f_globals.get("__name__", "")
    return module.partition(".")[0] in ("gevent", "greensock", "greenlet")


def _describe(frame: FrameType) -> str:
    code = frame.f_code
    return f"{code.co_filename}:{frame.f_lineno} in {code.co_qualname}"
