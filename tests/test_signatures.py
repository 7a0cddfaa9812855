"""Every public class, method and class attribute of socketserver is there, with its parameters."""

import inspect
import socket
import socketserver
from collections.abc import Iterator
from typing import Any

import pytest

import greensock

#: The class attributes whose default differs, on purpose, with the value here.
OTHER_DEFAULTS = {
    # As in CPython 3.15: with 5, a crowd that arrives at once is refused.
    "request_queue_size": socket.SOMAXCONN,
}

CLASSES = [name for name in socketserver.__all__ if isinstance(getattr(socketserver, name), type)]
SPECIAL_METHODS = ("__init__", "__enter__", "__exit__")


def members(class_name: str) -> Iterator[str]:
    """What the standard library's class has beyond `object`, private names left out."""
    for name in dir(getattr(socketserver, class_name)):
        if name in SPECIAL_METHODS or not name.startswith("_"):
            yield name


def parameters(function: Any) -> list[tuple[str, Any, Any]]:
    """Names, kinds and defaults; the standard library has no annotations to compare."""
    signature = inspect.signature(function)
    return [(each.name, each.kind, each.default) for each in signature.parameters.values()]


METHODS = [
    (class_name, name)
    for class_name in CLASSES
    for name in members(class_name)
    if callable(getattr(getattr(socketserver, class_name), name))
]
ATTRIBUTES = [
    (class_name, name)
    for class_name in CLASSES
    for name in members(class_name)
    if not callable(getattr(getattr(socketserver, class_name), name))
]


def test_there_is_something_to_compare() -> None:
    assert ("BaseServer", "serve_forever") in METHODS
    assert ("TCPServer", "__init__") in METHODS
    assert ("StreamRequestHandler", "disable_nagle_algorithm") in ATTRIBUTES


@pytest.mark.parametrize("name", socketserver.__all__)
def test_the_name_itself_takes_the_same_arguments(name: str) -> None:
    assert parameters(getattr(greensock, name)) == parameters(getattr(socketserver, name))


@pytest.mark.parametrize(("class_name", "name"), METHODS)
def test_method_has_the_same_parameters(class_name: str, name: str) -> None:
    theirs = getattr(getattr(socketserver, class_name), name)
    ours = getattr(getattr(greensock, class_name), name)
    assert parameters(ours) == parameters(theirs)
    assert inspect.iscoroutinefunction(ours) == inspect.iscoroutinefunction(theirs)


@pytest.mark.parametrize(("class_name", "name"), ATTRIBUTES)
def test_class_attribute_has_the_same_default(class_name: str, name: str) -> None:
    theirs = getattr(getattr(socketserver, class_name), name)
    assert getattr(getattr(greensock, class_name), name) == OTHER_DEFAULTS.get(name, theirs)


@pytest.mark.parametrize("class_name", CLASSES)
def test_class_has_the_same_bases(class_name: str) -> None:
    """In the same order: which of two bases' hooks runs is part of the behaviour."""
    theirs = [each.__name__ for each in getattr(socketserver, class_name).__mro__]
    ours = [each.__name__ for each in getattr(greensock, class_name).__mro__]
    assert [name for name in ours if name in theirs] == theirs


@pytest.mark.parametrize("server", ["UnixStreamServer", "UnixDatagramServer"])
def test_forking_unix_servers_are_there_before_python_3_12(server: str) -> None:
    combined = getattr(greensock, f"Forking{server}")
    assert issubclass(combined, greensock.ForkingMixIn)
    assert issubclass(combined, getattr(greensock, server))


@pytest.mark.parametrize(
    "server", ["TCPServer", "UDPServer", "UnixStreamServer", "UnixDatagramServer"]
)
def test_greenlet_servers_take_what_the_others_take(server: str) -> None:
    combined = getattr(greensock, f"Greenlet{server}")
    assert issubclass(combined, greensock.GreenletMixIn)
    assert issubclass(combined, getattr(greensock, server))
    assert parameters(combined) == parameters(getattr(socketserver, server))
