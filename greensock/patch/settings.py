"""Class attributes that whoever runs a program sets in it: `max_connections=5000`.

They come after what the program's own classes say, because that is what they are for.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from typing import Any

from greensock.handlers.classes import check_class_settings
from greensock.settings.values import check_value, is_setting


class UnknownSetting(ValueError):
    """There is no such attribute, or it cannot be set to that; the text says of what."""


class Settings:
    """What is to be set, by attribute, or by class and attribute.

    Args:
        values: values by name: `max_greenlets` is set on every class that has such an attribute,
            `Handler.timeout` on the classes of that name, and on those derived from them.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._everywhere: dict[str, Any] = {}
        self._by_class: dict[str, dict[str, Any]] = {}
        #: Names of classes that have been made, of those that settings are for.
        self._met: set[str] = set()
        for name, value in values.items():
            class_name, _, attribute = name.rpartition(".")
            if class_name:
                self._by_class.setdefault(class_name, {})[attribute] = value
            else:
                self._everywhere[attribute] = value

    def check(self, classes: Iterable[type]) -> None:
        """See to it that each attribute exists somewhere in `classes`, or is of a named class.

        Raises:
            UnknownSetting: none has it, or none can have it so.
        """
        classes = list(classes)
        for name, value in self._everywhere.items():
            takers = [cls for cls in classes if is_setting(cls, name)]
            if not takers:
                raise UnknownSetting(f"no server and no request handler has an attribute {name}")
            for cls in takers:
                _check(cls, name, value)

    def apply(self, cls: type) -> None:
        """Set what is meant for `cls`, which has just been made.

        Raises:
            UnknownSetting: a class that is named has no such attribute, or cannot have it so.
        """
        changed = False
        for name, value in self._everywhere.items():
            if is_setting(cls, name):
                # A class of the program's may have another kind of thing by that name.
                with contextlib.suppress(UnknownSetting):
                    _check(cls, name, value)
                    setattr(cls, name, value)
                    changed = True
        for base in reversed(cls.__mro__):
            for name, value in self._by_class.get(base.__name__, {}).items():
                self._met.add(base.__name__)
                if not is_setting(cls, name):
                    raise UnknownSetting(f"{base.__name__} has no attribute {name}")
                _check(cls, name, value)
                setattr(cls, name, value)
                changed = True
        if changed:
            check_class_settings(cls)

    def unmet(self) -> list[str]:
        """Names of classes that settings are for, and that were never made."""
        return sorted(self._by_class.keys() - self._met)


def _check(cls: type, name: str, value: Any) -> None:
    try:
        check_value(cls, name, value)
    except ValueError as error:
        raise UnknownSetting(str(error)) from None
