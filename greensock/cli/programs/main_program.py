"""A program in this process, as `python` would have started it: script, folder, module or code."""

from __future__ import annotations

import itertools
import os
import pkgutil
import runpy
import sys
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader, SourcelessFileLoader
from types import CodeType, ModuleType, TracebackType
from typing import Any, NoReturn

from greensock.arguments.usage import UsageError
from greensock.hub.signals import handlers
from greensock.patch.settings import UnknownSetting


@dataclass(frozen=True)
class Program:
    """What is to be run: `kind` is "file", "-m" or "-c"; `arguments` are the program's own."""

    kind: str
    name: str
    arguments: tuple[str, ...] = ()

    def run(self) -> int:
        """Run it to its end; return its exit status.

        Replaces `__main__`, `sys.argv` and, unless Python was told not to have it, the first
        entry of `sys.path`, for good.

        Raises:
            SystemExit: the program's.
            KeyboardInterrupt: Ctrl-C ended it. Its traceback was written already.
            UsageError: there is no such file.
            UnknownSetting: a class of the program's has not what is to be set on it.
        """
        main = _fresh_main()
        try:
            if self.kind == "-m":
                _set_up([self.name, *self.arguments], os.getcwd())
                _run_module(self.name)
            elif self.kind == "-c":
                _set_up(["-c", *self.arguments], "")
                exec(compile(self.name, "<string>", "exec", dont_inherit=True), vars(main))
            elif pkgutil.get_importer(self.name) is not None:
                # A folder or an archive with a __main__.py in it.
                _set_up([self.name, *self.arguments], os.path.abspath(self.name), always=True)
                _run_module("__main__", alter_argv=False)
            else:
                folder = os.path.dirname(os.path.realpath(self.name))
                _set_up([self.name, *self.arguments], folder)
                exec(_load_script(self.name, main), vars(main))
        except (SystemExit, UsageError, UnknownSetting):
            raise
        except BaseException as error:  # noqa: BLE001 - told as the interpreter would
            _report(error)
            if isinstance(error, KeyboardInterrupt):
                _end_interrupted()
            return 1
        return 0


def _fresh_main() -> ModuleType:
    main = ModuleType("__main__")
    names: dict[str, Any] = {"__builtins__": __builtins__}
    if sys.version_info < (3, 14):
        # Later ones make it once it is asked for, in modules that have any.
        names["__annotations__"] = {}
    vars(main).update(names)
    sys.modules["__main__"] = main
    return main


def _set_up(argv: list[str], folder: str, always: bool = False) -> None:
    sys.argv[:] = argv
    if not sys.flags.safe_path:
        # There is the folder of the `greensock` script, or the current one.
        sys.path[0] = folder
    elif always:
        sys.path.insert(0, folder)


def _run_module(name: str, **options: Any) -> None:
    # What the interpreter itself calls for `python -m`, under this name since 2.5: the public
    # run_module() takes the module out of sys.modules again, while threads of its may still run.
    runpy._run_module_as_main(name, **options)  # type: ignore[attr-defined]


def _load_script(name: str, main: ModuleType) -> CodeType:
    path = os.path.abspath(name)
    compiled = path.endswith(".pyc")
    loader = (SourcelessFileLoader if compiled else SourceFileLoader)("__main__", path)
    vars(main).update({"__file__": path, "__loader__": loader, "__cached__": None})
    try:
        if compiled:
            code: Any = loader.get_code("__main__")
            return code  # type: ignore[no-any-return]
        source = loader.get_data(path)
    except OSError as error:
        raise UsageError(
            f"can't open file {path!r}: [Errno {error.errno}] {error.strerror}"
        ) from None
    # Not by the loader, which would look for a compiled file and write one, and whose frames
    # would be in the traceback of a SyntaxError.
    return compile(source, path, "exec", dont_inherit=True)


def _report(error: BaseException) -> None:
    """Write the traceback as the interpreter does, without frames that it does not have."""
    ours = (__file__, handlers.__file__)
    kept = []
    entry = error.__traceback__
    while entry is not None:
        if entry.tb_frame.f_code.co_filename not in ours:
            kept.append(entry)
        entry = entry.tb_next
    for before, after in itertools.pairwise([*kept, None]):
        before.tb_next = after  # type: ignore[union-attr]
    traceback = error.__traceback__ = kept[0] if kept else None
    sys.last_type, sys.last_value, sys.last_traceback = type(error), error, traceback
    sys.excepthook(type(error), error, traceback)


def _end_interrupted() -> NoReturn:
    """End as the interpreter ends for Ctrl-C, by the signal itself, once everything is done."""

    def say_nothing(
        cls: type[BaseException], error: BaseException, traceback: TracebackType | None
    ) -> None:
        """It is written already."""

    sys.excepthook = say_nothing
    raise KeyboardInterrupt
