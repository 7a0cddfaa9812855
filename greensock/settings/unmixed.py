"""No server class may be half greensock's and half the standard library's.

    class Server(greensock.ThreadingMixIn, http.server.HTTPServer): ...

is that, where http.server was imported as it comes: either half counts on the other's insides. It
would fail with the first request; said when the class is made, it is said to whoever made it.
"""

from __future__ import annotations

from typing import Any

from greensock.settings.limits import CHECKS, NOWHERE, Setting, make_settings


class Unmixed:
    """Base of the servers and the mixins: refuses to be derived from beside `socketserver`'s own.

    Raises:
        TypeError: (when a class is made) one of its bases is the standard library's.
    """

    # For all servers: what is set in vain for a mixin that one does not have is looked at as well.
    vars().update({name: Setting(name, NOWHERE) for name in CHECKS})

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        make_settings(cls)
        for base in cls.__mro__:
            if base.__module__ == "socketserver" and not issubclass(base, Unmixed):
                raise TypeError(
                    f"{cls.__qualname__} is half greensock's and half the standard library's "
                    f"(socketserver.{base.__qualname__}): either derive all of it from greensock's "
                    f"classes, or call greensock.patch_socketserver() before {_home(cls, base)} is "
                    f"imported"
                )


def _home(cls: type, base: type) -> str:
    """The module of the class by which `base` came into `cls`: http.server, say."""
    homes = [each.__module__ for each in cls.__mro__[1:] if issubclass(each, base)]
    return homes[0]
