"""Class attributes that somebody sets by name and value, as text on a command line say.

A method, or a bool that became the string "no", would be found out by the first client.
"""

from __future__ import annotations

import inspect
import math
from typing import Any

from greensock.files.framing import check_terminator
from greensock.files.line_limits import reader_class
from greensock.settings import limits

# What a server is made with, or keeps there while it serves.
_NOT_SETTINGS = frozenset(
    ("RequestHandlerClass", "active_children", "draining", "server_address", "socket")
)


def is_setting(cls: type, name: str) -> bool:
    """Whether `cls` has a class attribute `name` that holds a value, and not a method."""
    if name.startswith("_") or name in _NOT_SETTINGS:
        return False
    # What a mixin that the class does not have would have is there, and says that it is not.
    if not hasattr(cls, name):
        return False
    value: Any = inspect.getattr_static(cls, name)
    if isinstance(value, (property, classmethod, staticmethod)):
        return False
    return not (inspect.isroutine(value) or inspect.isclass(value))


def check_value(cls: type, name: str, value: Any) -> None:
    """Check that a class attribute may become `value`.

    By what greensock knows of its own, and else by the value that is there: a bool stays a bool, a
    number a number, bytes bytes, a string a string. Where None is, anything may come.

    Raises:
        ValueError: it cannot be used; the message says what can.
    """
    if name in limits.CHECKS:
        limits.check(name, value)
    elif name == "timeout":
        if value is not None and not (_is_number(value) and 0 < value < math.inf):
            raise ValueError(f"timeout must be a positive number of seconds or None, not {value!r}")
    elif name in ("linger", "request_queue_size", "max_packet_size"):
        _check_kind(name, getattr(cls, name, 0), value)
        if value < 0:
            raise ValueError(f"{name} must be 0 or more, not {value!r}")
    elif name == "max_line_size":
        reader_class(value)
    elif name == "request_terminator":
        check_terminator(value)
    elif name in ("parkable", "defer_until_data"):
        if value not in (None, True, False):
            raise ValueError(f"{name} must be True, False or None, not {value!r}")
    else:
        _check_kind(name, getattr(cls, name, None), value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _check_kind(name: str, present: Any, value: Any) -> None:
    if isinstance(present, bool):
        if value not in (0, 1):
            raise ValueError(f"{name} must be True or False, not {value!r}")
    elif isinstance(present, (int, float)):
        if not _is_number(value):
            raise ValueError(f"{name} must be a number such as {present!r}, not {value!r}")
        if isinstance(present, int) and not isinstance(value, int):
            raise ValueError(f"{name} must be an integer such as {present!r}, not {value!r}")
    elif isinstance(present, bytes) and not isinstance(value, bytes):
        raise ValueError(f"{name} must be bytes such as {present!r}, not {value!r}")
    elif isinstance(present, str) and not isinstance(value, str):
        raise ValueError(f"{name} must be a string such as {present!r}, not {value!r}")
