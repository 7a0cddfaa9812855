"""TARGET on the command line: the handler or server class that a command works on."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

from greensock.arguments.usage import UsageError


def load_target(text: str) -> type:
    """The class that `package.module:Name` or `path/to/file.py:Name` names.

    A module is looked for in the current folder too, as by `python -m`.

    Raises:
        UsageError: it cannot be imported, or is no class.
    """
    place, colon, name = text.rpartition(":")
    if not colon or not place or not name:
        raise UsageError(
            f"TARGET must be package.module:Handler or path/to/file.py:Handler, not {text!r}"
        )
    module = _load_file(place) if place.endswith(".py") else _load_module(place)
    target: Any = module
    for part in name.split("."):
        target = getattr(target, part, None)
    if not isinstance(target, type):
        what = "has no" if target is None else "has, but not as a class,"
        raise UsageError(f"{place} {what} {name}")
    return target


def _load_file(place: str) -> Any:
    path = Path(place)
    if not path.is_file():
        raise UsageError(f"there is no file {place}")
    # Beside its own folder's modules, as if it were run as a script.
    sys.path.insert(0, str(path.resolve().parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{place} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise UsageError(f"{place} cannot be imported: {in_one_line(error)}") from error
    return module


def _load_module(place: str) -> Any:
    if "" not in sys.path and "." not in sys.path:
        sys.path.insert(0, "")
    try:
        return importlib.import_module(place)
    except (Exception, SystemExit) as error:
        raise UsageError(f"{place} cannot be imported: {in_one_line(error)}") from error


def in_one_line(error: BaseException) -> str:
    """An exception as its type and text, without a line feed."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def parse_setting(text: str) -> tuple[str, Any]:
    """The name and value of `NAME=VALUE`; a value that is no Python literal is a string.

    The name may be `Class.attribute`, too.

    Raises:
        UsageError: it is not of that form.
    """
    name, equals, value = text.partition("=")
    if not equals or not all(part.isidentifier() for part in name.split(".")):
        raise UsageError(f"--set must be NAME=VALUE, not {text!r}")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value
