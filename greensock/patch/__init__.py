"""greensock in place of the standard library's socketserver, for programs that import that.

`greensock run` is this for a whole program, from the command line.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from types import ModuleType, TracebackType
from typing import Any, Self

from gevent.monkey import patch_all

from greensock.hub.signals.handlers import let_handlers_block
from greensock.patch.early_users import early_users, in_words
from greensock.patch.replacement import THREADING_MIXINS, Replacement
from greensock.patch.settings import Settings, UnknownSetting

__all__ = ["Patch", "UnknownSetting", "patch_socketserver", "unpatch_socketserver"]

_NAME = "socketserver"


class Patch:
    """What `patch_socketserver` has done; as a context manager, until the block ends.

    Attributes:
        is_active: whether `import socketserver` gives greensock's classes now.
        early_users: why it could not be done, if it could not: what is bound to the standard
            library's classes already, by the module that has it.
    """

    def __init__(self, mixin: str, values: dict[str, Any]) -> None:
        self.mixin = mixin
        self._values = values
        self.settings = Settings(values)
        self.early_users: dict[str, list[str]] = {}
        #: What `socketserver` means while this is active.
        self.module: Replacement | None = None
        self._standard: ModuleType | None = None

    @property
    def is_active(self) -> bool:
        return self.module is not None and sys.modules.get(_NAME) is self.module

    def is_for(self, mixin: str, values: dict[str, Any]) -> bool:
        return self.mixin == mixin and self._values == values

    def prepare(self) -> None:
        """Make the replacement; the standard module is loaded for its names.

        Raises:
            UnknownSetting: nothing of it has such an attribute.
        """
        self._standard = importlib.import_module(_NAME)
        self.module = Replacement(self._standard, self.mixin, self.settings)
        self.settings.check(self.module.classes)

    def apply(self) -> None:
        """Put the replacement in place."""
        if self.module is not None:
            sys.modules[_NAME] = self.module

    def undo(self) -> None:
        """Put the standard module back, if nobody else has put something there."""
        if self.is_active and self._standard is not None:
            sys.modules[_NAME] = self._standard
        self.module = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        unpatch_socketserver()


_active: Patch | None = None


def patch_socketserver(mixin: str = "greenlet", *, monkey: bool = True, **settings: Any) -> Patch:
    """Make `import socketserver` mean greensock from now on, in this process.

    What is imported or defined afterwards (`http.server`, `xmlrpc.server`, libraries, the program
    itself) derives from greensock's classes. Call it first, as `gevent.monkey.patch_all()`.

        import greensock

        greensock.patch_socketserver(max_greenlets=500)

        from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

    Args:
        mixin: what `ThreadingMixIn` is: `greenlet` (the default), `threading`, or `forking`.
            `ForkingMixIn`, and servers without a mixin, stay what they are.
        monkey: whether to call `gevent.monkey.patch_all()` too, so that whatever else blocks in
            handlers (`time.sleep`, a database driver in Python) blocks one greenlet and not all.
            That lasts: neither `unpatch_socketserver` nor gevent can take it back.
        settings: class attributes, set on every server and handler class that has such an
            attribute, over what the program says itself. `**{"Handler.timeout": 5}` sets one on
            the class `Handler` and those derived from it only.

    Returns:
        A context manager: at the end of its block it does what `unpatch_socketserver()` does.

    Where the standard library's classes are in use already, nothing at all is changed: a class
    that is half of each library would not work. A RuntimeWarning names each such class and its
    module, and `early_users` of what is returned has them.

    Raises:
        ValueError: there is no such mixin, or (`UnknownSetting`) nothing has such an attribute.
        RuntimeError: socketserver is replaced already: by this function with other arguments, or
            by somebody else.
    """
    global _active
    if mixin not in THREADING_MIXINS:
        raise ValueError(f"mixin must be greenlet, threading or forking, not {mixin!r}")
    if _active is not None and _active.is_active:
        if _active.is_for(mixin, settings):
            return _active
        raise RuntimeError(
            f"socketserver is replaced already, with mixin={_active.mixin!r} and its own settings: "
            f"call unpatch_socketserver() first"
        )
    patch = Patch(mixin, settings)
    present = sys.modules.get(_NAME)
    if present is not None:
        _check_standard(present)
        patch.early_users = early_users(present)
    if patch.early_users:
        warnings.warn(
            f"socketserver was not replaced: the standard library's classes are in use already, by "
            f"{in_words(patch.early_users)}. Call patch_socketserver() before these modules are "
            f"imported, or start the program with `greensock run`.",
            RuntimeWarning,
            stacklevel=2,
        )
        return patch
    patch.prepare()
    if monkey:
        patch_all()
        let_handlers_block()
    patch.apply()
    _active = patch
    return patch


def _check_standard(module: ModuleType) -> None:
    if getattr(module, "BaseServer", None) is None or module.BaseServer.__module__ != _NAME:
        raise RuntimeError(f"socketserver is replaced already, by {module.__name__}")


def unpatch_socketserver() -> None:
    """Make `import socketserver` mean the standard library's module again. Idempotent.

    Classes made meanwhile stay what they are, and so do modules imported meanwhile: a later
    `import http.server` gives what was imported then. Monkey patching stays too.
    """
    global _active
    patch, _active = _active, None
    if patch is not None:
        patch.undo()
