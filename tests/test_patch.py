"""greensock.patch_socketserver: what it replaces, what it refuses, and what it puts back."""

import sys
import warnings
from typing import Any

import pytest

import greensock

from .separate_process import PATCHED, UNPATCHED

pytest_plugins = ["tests.alone"]

MIXINS = ("greenlet", "threading", "forking")
#: What stands behind ThreadingMixIn.
BEHIND = {
    "greenlet": greensock.GreenletMixIn,
    "threading": greensock.ThreadingMixIn,
    "forking": greensock.ForkingMixIn,
}


def socketserver() -> Any:
    import socketserver

    return socketserver


def patch(mixin: str = "greenlet", **settings: Any) -> Any:
    assert "socketserver" not in sys.modules
    return greensock.patch_socketserver(mixin, monkey=False, **settings)


def has_every_name(mixin: str) -> None:
    standard = vars(socketserver()).copy()
    del sys.modules["socketserver"]
    patch(mixin)
    module = socketserver()
    assert module.__name__ == "socketserver"
    assert module.__doc__ == standard["__doc__"]
    assert {name for name in standard if not hasattr(module, name)} == set()
    assert set(module.__all__) >= set(standard["__all__"])
    for name in module.__all__:
        cls = getattr(module, name)
        assert cls.__name__ == name
        is_ready_made = name.startswith(("Threading", "Forking"))
        assert is_ready_made or issubclass(cls, getattr(greensock, name))
        for base in getattr(standard.get(name), "__mro__", (object,))[:-1]:
            assert issubclass(cls, getattr(module, base.__name__)), (name, base)
    namespace: dict[str, Any] = {}
    exec("from socketserver import *", namespace)
    assert set(module.__all__) <= set(namespace)


@pytest.mark.parametrize("mode", [UNPATCHED, PATCHED])
@pytest.mark.parametrize("mixin", MIXINS)
def test_every_name_is_there(alone, mode: str, mixin: str) -> None:
    alone(mode, has_every_name, mixin)


def derives_from_greensock(mixin: str) -> None:
    patch(mixin)
    import http.server
    import logging.config
    import wsgiref.simple_server
    import xmlrpc.server

    assert issubclass(http.server.ThreadingHTTPServer, BEHIND[mixin])
    assert issubclass(xmlrpc.server.SimpleXMLRPCServer, greensock.TCPServer)
    assert not issubclass(xmlrpc.server.SimpleXMLRPCServer, BEHIND[mixin])
    assert issubclass(wsgiref.simple_server.WSGIRequestHandler, greensock.StreamRequestHandler)
    assert issubclass(logging.config.ThreadingTCPServer, BEHIND[mixin])
    if mixin == "greenlet":
        assert issubclass(socketserver().ForkingMixIn, greensock.ForkingMixIn)


@pytest.mark.parametrize("mixin", MIXINS)
def test_what_is_imported_afterwards_is_on_greensock(alone, mixin: str) -> None:
    alone(UNPATCHED, derives_from_greensock, mixin)


def unpatches() -> None:
    with patch() as active:
        assert active.is_active
        module = socketserver()
        assert module.BaseServer is not greensock.BaseServer
        assert greensock.patch_socketserver(monkey=False) is active
        with pytest.raises(RuntimeError, match=r"already, with mixin='greenlet'"):
            greensock.patch_socketserver("forking", monkey=False)
    assert not active.is_active
    assert socketserver().BaseServer.__module__ == "socketserver"
    assert not issubclass(socketserver().BaseServer, greensock.BaseServer)
    greensock.unpatch_socketserver()
    assert greensock.patch_socketserver("forking", monkey=False).is_active
    assert issubclass(socketserver().ThreadingMixIn, greensock.ForkingMixIn)
    greensock.unpatch_socketserver()
    with pytest.raises(LookupError), greensock.patch_socketserver(monkey=False):
        raise LookupError
    assert not issubclass(socketserver().BaseServer, greensock.BaseServer)


def test_standard_module_is_put_back(alone) -> None:
    alone(UNPATCHED, unpatches)


def refuses_half_a_patch() -> None:
    import time

    before = time.sleep
    import http.server

    assert http.server.HTTPServer.__mro__[1] is socketserver().TCPServer

    class InFunction(socketserver().StreamRequestHandler):  # type: ignore[name-defined]
        pass

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        patch = greensock.patch_socketserver()
    assert not patch.is_active
    assert not issubclass(socketserver().BaseServer, greensock.BaseServer)
    assert time.sleep is before
    [warning] = caught
    assert warning.category is RuntimeWarning
    assert warning.filename == __file__
    text = str(warning.message)
    assert "http.server (BaseHTTPRequestHandler, " in text
    assert f"{__name__} (refuses_half_a_patch.<locals>.InFunction)" in text
    assert "Call patch_socketserver() before" in text
    assert set(patch.early_users) == {"http.server", __name__}


def test_nothing_is_replaced_where_standard_classes_are_in_use(alone) -> None:
    alone(UNPATCHED, refuses_half_a_patch)


def names_a_bound_module() -> None:
    standard = socketserver()
    globals()["bound_module"], globals()["bound_class"] = standard, standard.TCPServer
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch = greensock.patch_socketserver(monkey=False)
    assert patch.early_users == {__name__: ["bound_class", "bound_module"]}
    del globals()["bound_module"], globals()["bound_class"]
    assert greensock.patch_socketserver(monkey=False).is_active


def test_name_bound_to_the_standard_module_counts(alone) -> None:
    alone(UNPATCHED, names_a_bound_module)


def replaced_by_another() -> None:
    sys.modules["socketserver"] = greensock
    with pytest.raises(RuntimeError, match="socketserver is replaced already, by greensock"):
        greensock.patch_socketserver(monkey=False)


def test_another_replacement_is_left_alone(alone) -> None:
    alone(UNPATCHED, replaced_by_another)


def sets_attributes() -> None:
    settings = {
        "request_queue_size": 7,
        "parkable": False,
        "Tuned.timeout": 30,
        "ThreadingMixIn.daemon_threads": True,
    }
    patch(**settings)
    module = socketserver()

    class Server(module.ThreadingMixIn, module.TCPServer):  # type: ignore[name-defined, misc]
        request_queue_size = 5

    class Derived(Server):
        request_queue_size = 6

    class Tuned(module.StreamRequestHandler):  # type: ignore[name-defined, misc]
        timeout = 5
        parkable = True

    class Other(module.StreamRequestHandler):  # type: ignore[name-defined, misc]
        pass

    class FromTuned(Tuned):
        timeout = 6

    for cls in (module.TCPServer, module.UDPServer, Server, Derived, module.ThreadingTCPServer):
        assert cls.request_queue_size == 7
    assert Derived.daemon_threads
    assert [cls.timeout for cls in (Tuned, FromTuned, Other)] == [30, 30, None]
    assert not any(cls.parkable for cls in (Tuned, FromTuned, Other))
    assert greensock.TCPServer.request_queue_size != 7
    with Server(("127.0.0.1", 0), Tuned) as server:
        assert server.request_queue_size == 7


def test_settings_come_after_what_the_program_says(alone) -> None:
    alone(UNPATCHED, sets_attributes)


def refuses_nonsense() -> None:
    with pytest.raises(ValueError, match="mixin must be greenlet, threading or forking, not 'x'"):
        greensock.patch_socketserver("x")
    with pytest.raises(ValueError, match="no request handler has an attribute no_such"):
        greensock.patch_socketserver(no_such=1)
    import time

    assert not issubclass(socketserver().BaseServer, greensock.BaseServer)
    assert time.sleep.__module__ == "time"


def test_mistakes_change_nothing(alone) -> None:
    alone(UNPATCHED, refuses_nonsense)


def patches_all() -> None:
    import time

    assert greensock.patch_socketserver().is_active
    assert time.sleep.__module__ == "gevent.hub"


def test_the_rest_of_the_standard_library_is_made_cooperative(alone) -> None:
    alone(UNPATCHED, patches_all)
