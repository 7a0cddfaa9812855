"""What rfile and wfile have in common: with every binary file, and attributes that programs set.

Programs count, compress or log what goes through a file by putting a function of their own over
its `write` or `readline`. A dictionary would cost each file of each idle client about 100 bytes,
for the sake of those few: so a file has slots, and becomes one of another class when the first
attribute is set. That class has the same slots, and a dictionary in the one for the socket.

May be imported by anyone; imports nothing of greensock.
"""

from __future__ import annotations

import functools
import io
from typing import Any, Self


class _Closed:
    """Stands for the socket of a closed file, so that the hot paths need no check of their own."""

    def __getattr__(self, name: str) -> Any:
        raise ValueError("I/O operation on closed file")


CLOSED: Any = _Closed()


class SocketFile:
    """A file on a request, its `_sock`, and what it can do that is neither reading nor writing."""

    __slots__ = ("__weakref__", "_sock")

    _sock: Any

    def __setattr__(self, name: str, value: Any) -> None:
        if not _is_of_class(type(self), name):
            held, cls = _Held(self._sock), _altered(type(self))  # type: ignore[arg-type]
            held.own[name] = value
            set_sock(self, held)
            object.__setattr__(self, "__class__", cls)
        else:
            object.__setattr__(self, name, value)

    @property
    def closed(self) -> bool:
        return self._sock is CLOSED

    def _check_open(self) -> Any:
        if self._sock is CLOSED:
            raise ValueError("I/O operation on closed file")
        return self._sock

    def __enter__(self) -> Self:
        self._check_open()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        raise NotImplementedError

    def fileno(self) -> int:
        return int(self._sock.fileno())

    def isatty(self) -> bool:
        self._check_open()
        return False

    def readable(self) -> bool:
        self._check_open()
        return False

    def writable(self) -> bool:
        self._check_open()
        return False

    def seekable(self) -> bool:
        self._check_open()
        return False

    def flush(self) -> None:
        self._check_open()

    def seek(self, offset: int, whence: int = 0, /) -> int:
        raise io.UnsupportedOperation("a socket cannot seek")

    def tell(self) -> int:
        raise io.UnsupportedOperation("a socket has no position")

    def truncate(self, size: int | None = None, /) -> int:
        raise io.UnsupportedOperation("a socket cannot be truncated")

    def detach(self) -> Any:
        raise io.UnsupportedOperation("there is no raw file to detach")


_raw: Any = SocketFile.__dict__["_sock"].__get__
#: Sets a file's `_sock` past `__setattr__`, for which every client's files would wait twice.
set_sock: Any = SocketFile.__dict__["_sock"].__set__


class _Held:
    """What is in the slot for the socket once a file has attributes of its own."""

    __slots__ = ("own", "sock")

    def __init__(self, sock: Any) -> None:
        self.sock = sock
        self.own: dict[str, Any] = {}


class Altered:
    """A file with attributes of its own, which come before its methods."""

    __slots__ = ()

    def __getattribute__(self, name: str) -> Any:
        held = _raw(self)
        if name == "_sock":
            return held.sock
        if name == "__dict__":
            return held.own
        if name in held.own:
            return held.own[name]
        return object.__getattribute__(self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "_sock":
            _raw(self).sock = value
        elif _is_of_class(type(self), name):
            object.__setattr__(self, name, value)
        else:
            _raw(self).own[name] = value

    def __delattr__(self, name: str) -> None:
        if name in _raw(self).own:
            del _raw(self).own[name]
        else:
            object.__delattr__(self, name)

    def close(self) -> None:
        held = _raw(self)
        try:
            super().close()  # type: ignore[misc]
        finally:
            if _raw(self) is not held:
                held.sock = _raw(self)
                set_sock(self, held)


def _is_of_class(cls: type, name: str) -> bool:
    """Whether an attribute is kept, or refused, by something in the class."""
    return hasattr(type(getattr(cls, name, None)), "__set__")


@functools.lru_cache(maxsize=128)
def _altered(cls: Any) -> type:
    names = {"__slots__": (), "__module__": cls.__module__, "__qualname__": cls.__qualname__}
    return type(cls.__name__, (Altered, cls), names)
