"""The module that programs import in place of the standard library's socketserver."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

from greensock.handlers import classes as handlers
from greensock.mixins import combinations
from greensock.mixins.forks import ForkingMixIn
from greensock.mixins.threads import ThreadingMixIn
from greensock.patch.settings import Settings
from greensock.patch.thread_names import ChildrenForThreads, GreenletsForThreads
from greensock.servers import base as base_server
from greensock.servers import datagram, stream

#: What ThreadingMixIn is, by the name of the mixin asked for.
THREADING_MIXINS: dict[str, type] = {
    "greenlet": GreenletsForThreads,
    "threading": ThreadingMixIn,
    "forking": ChildrenForThreads,
}

#: Bases before what is derived from them.
_SINGLE: tuple[type, ...] = (
    base_server.BaseServer,
    stream.TCPServer,
    datagram.UDPServer,
    stream.UnixStreamServer,
    datagram.UnixDatagramServer,
    handlers.BaseRequestHandler,
    handlers.StreamRequestHandler,
    handlers.DatagramRequestHandler,
    ForkingMixIn,
)


class Replacement(ModuleType):
    """A module `socketserver` with greensock's classes, each with the settings on it.

    It has every name of the standard library's, so that whoever looks for a name finds it; the
    classes are greensock's, or derived from them.

    Attributes:
        classes: the classes, each after its bases.
        named: the same by name.
    """

    def __init__(self, standard: ModuleType, mixin: str, settings: Settings) -> None:
        super().__init__(standard.__name__, standard.__doc__)
        # Its __spec__ too, without which importlib.util.find_spec("socketserver") raises.
        vars(self).update(vars(standard))
        self.__file__ = __file__
        classes: dict[type, type] = {}
        for cls in _SINGLE:
            bases = (cls, *(classes[base] for base in cls.__bases__ if base in classes))
            classes[cls] = self._make(cls, bases, settings)
        classes[ThreadingMixIn] = self._make(ThreadingMixIn, (THREADING_MIXINS[mixin],), settings)
        for cls in _ready_made():
            classes[cls] = self._make(cls, tuple(classes[base] for base in cls.__bases__), settings)
        self.classes = tuple(classes.values())
        self.named: dict[str, Any] = {cls.__name__: cls for cls in self.classes}
        vars(self).update(self.named)
        # What later Pythons have in socketserver is there in this one too.
        self.__all__ = sorted({*standard.__all__, *self.named})

    def _make(self, cls: type, bases: tuple[type, ...], settings: Settings) -> type:
        def apply_settings(derived: Any, /, **kwargs: Any) -> None:
            super(made, derived).__init_subclass__(**kwargs)
            settings.apply(derived)

        names: dict[str, Any] = {
            "__doc__": cls.__doc__,
            "__module__": self.__name__,
            "__init_subclass__": classmethod(apply_settings),
        }
        made: Any = type(cls.__name__, bases, names)
        settings.apply(made)
        return made  # type: ignore[no-any-return]


def _ready_made() -> Iterator[type]:
    for name, cls in vars(combinations).items():
        if name.startswith(("Threading", "Forking")) and len(cls.__bases__) == 2:
            yield cls
