"""The public names of greensock."""

import ast
import inspect
import socketserver
import subprocess
import sys
from pathlib import Path

import pytest

import greensock

NEW_NAMES = {
    "GreenletMixIn",
    "GreenletTCPServer",
    "GreenletUDPServer",
    "GreenletUnixStreamServer",
    "GreenletUnixDatagramServer",
    "KeepAliveRequestHandler",
    "patch_socketserver",
    "unpatch_socketserver",
}
#: In socketserver's own list since Python 3.12.
SINCE_3_12 = {"ForkingUnixStreamServer", "ForkingUnixDatagramServer"}


def test_every_name_of_socketserver_is_public() -> None:
    assert set(socketserver.__all__) | SINCE_3_12 <= set(greensock.__all__)


def test_every_new_name_is_public() -> None:
    assert set(greensock.__all__) >= NEW_NAMES


def test_no_name_is_listed_twice() -> None:
    assert len(set(greensock.__all__)) == len(greensock.__all__)


def test_star_import_gives_every_listed_name() -> None:
    namespace: dict[str, object] = {}
    exec("from greensock import *", namespace)
    assert set(greensock.__all__) <= set(namespace)


@pytest.mark.parametrize("name", greensock.__all__)
def test_public_name_is_documented(name: str) -> None:
    value = getattr(greensock, name)
    if inspect.isclass(value) or inspect.isroutine(value):
        # Its own docstring: `inspect.getdoc` would give the base class's.
        assert value.__doc__, f"{name} has no docstring"


PACKAGE = Path(greensock.__file__).parent
FILES = {
    ".".join(["greensock", *path.relative_to(PACKAGE).with_suffix("").parts]).removesuffix(
        ".__init__"
    ): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
#: What is only ever imported in locust's process, which locust patches.
LOCUST_SIDE = ("greensock.loadtest.", "greensock.compare.scenarios.")


@pytest.mark.parametrize("module", FILES)
def test_every_module_says_what_it_is(module: str) -> None:
    assert ast.get_docstring(ast.parse(FILES[module].read_text(encoding="utf-8")))


def test_every_module_can_be_imported_without_locust() -> None:
    """In a process of its own, and the last first: none may count on another's being there."""
    program = """if True:
        import importlib, sys
        for module in sys.argv[1:]:
            importlib.import_module(module)
            assert "locust" not in sys.modules, module
        """
    modules = [
        module
        for module in reversed(FILES)
        if not module.startswith(LOCUST_SIDE) and not module.endswith("__main__")
    ]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, *modules],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
