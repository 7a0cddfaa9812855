"""The fixture that runs a scenario in a process of its own; for `pytest_plugins` of a module."""

from collections.abc import Iterator

import pytest

from .separate_process import PATCHED, UNPATCHED, Templates


@pytest.fixture(scope="session")
def alone() -> Iterator[Templates]:
    """`alone(mode, scenario, *arguments)`, see `tests.separate_process`.

    Of the session: what is started before a test does not count as left behind by it.
    """
    templates = Templates()
    yield templates
    templates.close()


@pytest.fixture(scope="session")
def alone_with_nothing_imported() -> Iterator[Templates]:
    """The same, of processes that no other test has led to import socketserver."""
    templates = Templates((UNPATCHED, PATCHED))
    yield templates
    templates.close()
