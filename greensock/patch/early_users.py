"""Who has the standard library's socketserver already, when it is to be replaced.

A class made before keeps its base classes. Mixed with classes made afterwards it would be half of
one library and half of the other, so that nothing is replaced once there is such a class.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any


def early_users(standard: ModuleType) -> dict[str, list[str]]:
    """What would stay on `standard` if it were replaced now, by the module that has it.

    That is: names bound to the module itself or to one of its classes, and classes derived from
    those, by whatever name. `standard` itself does not count.
    """
    own = {value for value in vars(standard).values() if _is_class_of(value, standard)}
    found: dict[str, set[str]] = {}
    for module_name, module in list(sys.modules.items()):
        if module is standard or not isinstance(module, ModuleType):
            continue
        for name, value in list(vars(module).items()):
            if value is standard or (isinstance(value, type) and value in own):
                found.setdefault(module_name, set()).add(name)
    for cls in own:
        for derived in _derived(cls):
            if derived not in own:
                found.setdefault(derived.__module__, set()).add(derived.__qualname__)
    return {module_name: sorted(found[module_name]) for module_name in sorted(found)}


def _is_class_of(value: Any, module: ModuleType) -> bool:
    return isinstance(value, type) and value.__module__ == module.__name__


def _derived(cls: Any) -> Iterator[type]:
    derived: type
    for derived in cls.__subclasses__():
        yield derived
        yield from _derived(derived)


def in_words(users: dict[str, list[str]]) -> str:
    """`http.server (BaseHTTPRequestHandler, HTTPServer), logging.config (...)`."""
    return ", ".join(f"{module} ({', '.join(names)})" for module, names in users.items())
