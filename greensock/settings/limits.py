"""The settings that bound what clients may take of a server, and what may be set for them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

OVERFLOWS = ("pause", "reject", "evict")


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return _is_whole(value) or isinstance(value, float)


def _positive_integer(name: str, value: Any) -> None:
    if value is not None and not (_is_whole(value) and value > 0):
        raise ValueError(f"{name} must be a positive integer or None, not {value!r}")


def _positive_seconds(name: str, value: Any) -> None:
    if value is not None and not (_is_number(value) and 0 < value < math.inf):
        raise ValueError(f"{name} must be a positive number of seconds or None, not {value!r}")


def _seconds(name: str, value: Any) -> None:
    if value is not None and not (_is_number(value) and 0 <= value < math.inf):
        raise ValueError(f"{name} must be a number of seconds, 0 or more, or None, not {value!r}")


def _linger(name: str, value: Any) -> None:
    if not (_is_number(value) and 0 <= value < math.inf):
        raise ValueError(f"{name} must be a number of seconds, 0 or more, not {value!r}")


def _overflow(name: str, value: Any) -> None:
    if value not in OVERFLOWS:
        raise ValueError(f"{name} must be 'pause', 'reject' or 'evict', not {value!r}")


def _keepalive(name: str, value: Any) -> None:
    if value is None:
        return
    if not (
        isinstance(value, tuple)
        and len(value) == 3
        and all(_is_whole(each) and 0 < each < 32768 for each in value)
    ):
        raise ValueError(
            f"{name} must be None or three integers from 1 to 32767 (seconds of silence before the "
            f"first probe, seconds between probes, number of probes), not {value!r}"
        )


def _prefixes(name: str, value: Any) -> None:
    if not (
        isinstance(value, tuple)
        and len(value) == 2
        and all(map(_is_whole, value))
        and 0 <= value[0] <= 32
        and 0 <= value[1] <= 128
    ):
        raise ValueError(
            f"{name} must be two prefix lengths, for IPv4 (0 to 32) and IPv6 (0 to 128), "
            f"not {value!r}"
        )


def _networks(name: str, value: Any) -> None:
    try:
        if isinstance(value, str):
            raise ValueError
        for each in value:
            # Here, where there is one: see `admission`.
            import ipaddress

            ipaddress.ip_network(each)
    except (TypeError, ValueError):
        raise ValueError(
            f"{name} must be a sequence of addresses and networks such as '10.0.0.0/8', "
            f"not {value!r}"
        ) from None


#: What checks each setting, by its name.
CHECKS: dict[str, Callable[[str, Any], None]] = {
    "max_connections": _positive_integer,
    "max_connections_per_ip": _positive_integer,
    "max_greenlets": _positive_integer,
    "max_threads": _positive_integer,
    "max_children": _positive_integer,
    "idle_timeout": _positive_seconds,
    "write_timeout": _positive_seconds,
    "stall_timeout": _positive_seconds,
    "graceful_timeout": _seconds,
    "linger": _linger,
    "overflow": _overflow,
    "tcp_keepalive": _keepalive,
    "ip_prefix": _prefixes,
    "trusted_ips": _networks,
}


def check(name: str, value: Any) -> None:
    """Check the value of a setting; any name that is none passes.

    Raises:
        ValueError: it cannot be used; the message says what can.
    """
    checked_by = CHECKS.get(name)
    if checked_by is not None:
        checked_by(name, value)


NOWHERE: Any = object()


class Setting:
    """A setting as an attribute of a server class: checked, and told of, where it is assigned.

    Class bodies say `max_connections = 100`; `make_settings` puts one of these there. (A
    `__setattr__` of the server would make each `server.hits += 1` of a handler six times as dear.)

    Args:
        name: its name.
        value: what the class body says: the value of servers that have none of their own. NOWHERE:
            there is no such attribute, until somebody sets it.
    """

    __slots__ = ("name", "value")

    def __init__(self, name: str, value: Any) -> None:
        self.name = name
        self.value = value

    def __get__(self, server: Any, owner: type) -> Any:
        settings = None if server is None else getattr(server, "_greensock", None)
        value = self.value if settings is None else settings.own.get(self.name, self.value)
        if value is NOWHERE:
            raise AttributeError(f"{owner.__name__} has no setting {self.name}", name=self.name)
        return value

    def __set__(self, server: Any, value: Any) -> None:
        if not is_foreign(type(server)):
            check(self.name, value)
        settings = getattr(server, "_greensock", None)
        if settings is None:
            settings = server._greensock = Settings()
        settings.own = {**settings.own, self.name: value}
        settings.setting_changed(self.name)

    def __delete__(self, server: Any) -> None:
        settings = getattr(server, "_greensock", None)
        own = {} if settings is None else dict(settings.own)
        if settings is None or self.name not in own:
            raise AttributeError(self.name)
        del own[self.name]
        settings.own = own
        settings.setting_changed(self.name)


class Settings:
    """The settings that a server has for itself: of more than these, `Service` makes something.

    Not in the server's dictionary: CPython 3.11 and 3.12 know no short way to the attributes of an
    instance whose dictionary anybody has looked into. (An echo took a fifth more.)
    """

    def __init__(self, own: Mapping[str, Any] | None = None) -> None:
        #: By name; never changed, but replaced.
        self.own: Mapping[str, Any] = own or {}

    def setting_changed(self, name: str) -> None:
        """Told of one; BaseServer.__init__, which is yet to come, looks at all of them."""


def make_settings(cls: type) -> None:
    """Have what the bodies of `cls` and its bases say of settings be noticed where it is set.

    For each class once it is made, and once more for each server: somebody may have set an
    attribute of the class meanwhile, which puts the bare value there.
    """
    for base in cls.__mro__[:-1]:
        for name, value in [each for each in vars(base).items() if each[0] in CHECKS]:
            # What has a `__get__` is a property of the program's, or a Setting already.
            if not hasattr(type(value), "__get__"):
                setattr(base, name, Setting(name, value))


def is_foreign(cls: type) -> bool:
    """Whether a class of servers was written for the standard library's socketserver.

    It derives from what `patch_socketserver` has put in its place. What it calls `idle_timeout` or
    `on_connection` is its own affair: of its settings those are taken that can be used, and none
    of its methods for a hook that the standard library does not have.
    """
    return any(base.__module__ == "socketserver" for base in cls.__mro__)


class Limits:
    """What a server goes by: of each setting what it says, if that can be used."""

    __slots__ = tuple(CHECKS)

    max_connections: int | None
    max_connections_per_ip: int | None
    max_greenlets: int | None
    max_threads: int | None
    max_children: int | None
    idle_timeout: float | None
    write_timeout: float | None
    stall_timeout: float | None
    graceful_timeout: float | None
    linger: float
    overflow: str
    tcp_keepalive: tuple[int, int, int] | None
    ip_prefix: tuple[int, int]
    trusted_ips: Sequence[str]

    def __init__(self, server: Any) -> None:
        """Take over all the settings of `server`, its class's included.

        Raises:
            ValueError: as `check`.
        """
        make_settings(type(server))
        self.take_over(server)

    def take_over(self, server: Any) -> None:
        """Look at all of them again; raises as `check`."""
        for name in CHECKS:
            self.take(name, server)

    def take(self, name: str, server: Any) -> None:
        """Take over one that was checked where it was set, unless by a program of another mind."""
        value = getattr(server, name, _OF_OTHER_SERVERS.get(name))
        if not is_foreign(type(server)):
            check(name, value)
        elif not _is_usable(name, value):
            value = _usable_default(name, type(server))
        setattr(self, name, value)


# What the settings of a mixin that a server does not have are for it, if not None.
_OF_OTHER_SERVERS: dict[str, Any] = {"linger": 0.0}


def _is_usable(name: str, value: Any) -> bool:
    try:
        check(name, value)
    except ValueError:
        return False
    return True


def _usable_default(name: str, cls: type) -> Any:
    """What the nearest base says of a setting that can be used: at last greensock's own class."""
    for base in cls.__mro__:
        value = getattr(base, name, NOWHERE) if name in vars(base) else NOWHERE
        if value is not NOWHERE and _is_usable(name, value):
            return value
    return _OF_OTHER_SERVERS.get(name)
