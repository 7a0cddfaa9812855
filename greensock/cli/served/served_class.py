"""The server that `greensock serve` makes: its class, its mixin, its settings."""

from __future__ import annotations

import inspect
import os
import socket
import stat
import sys
from typing import Any

from greensock.arguments.targets import in_one_line
from greensock.arguments.usage import UsageError
from greensock.cli.served import setting_effects
from greensock.mixins.forks import ForkingMixIn
from greensock.mixins.greenlets import GreenletMixIn
from greensock.mixins.threads import ThreadingMixIn
from greensock.net.addresses import Address
from greensock.servers import base as base_server
from greensock.servers import datagram, stream

MIXINS: dict[str, type | None] = {
    "greenlet": GreenletMixIn,
    "threading": ThreadingMixIn,
    "forking": ForkingMixIn,
    "none": None,
}

# As gunicorn's.
_GRACEFUL_TIMEOUT = 30.0

# Long enough that a busy machine does not look like a handler that blocks.
_STALL_TIMEOUT = 1.0


def usual_mixin(target: type) -> type | None:
    """What a target is served under unless told: a server class its own mixin, or its none."""
    if not issubclass(target, base_server.BaseServer):
        return GreenletMixIn
    own = [mixin for mixin in MIXINS.values() if mixin is not None and issubclass(target, mixin)]
    # Of several the first has its say, as in Python.
    return min(own, key=target.__mro__.index, default=None)


def make_server(
    target: type, mixin: type | None, address: Address, settings: dict[str, Any]
) -> base_server.BaseServer:
    """A server of `target` at `address` under `mixin`, and under no other mixin.

    Raises:
        UsageError: the address or a setting cannot be used, or the server wants more than these.
    """
    base: Any
    if issubclass(target, base_server.BaseServer):
        base, handler = target, getattr(target, "RequestHandlerClass", None)
    else:
        _check_handler(target)
        base, handler = _server_class(address), target
    if address.scheme == "udp" and base.socket_type != socket.SOCK_DGRAM:
        raise UsageError(f"--bind: {base.__name__} is no server of datagrams: leave out udp://")
    names: dict[str, Any] = {"allow_reuse_address": True, "address_family": address.family}
    server_class = _under(base, mixin, names)
    arguments = _arguments(base, address.sockaddr, handler)
    for name, value in _defaults(server_class).items():
        setattr(server_class, name, value)
    setting_effects.apply_all(settings, server_class, handler, address)
    if address.scheme == "unix":
        _remove_stale_socket(address.host)
    try:
        return server_class(*arguments)  # type: ignore[no-any-return]
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"cannot listen on {address}: {reason}") from error
    except Exception as error:
        raise UsageError(f"{base.__name__} cannot be made: {in_one_line(error)}") from error


def _check_handler(target: Any) -> None:
    """See whether a class can make handlers.

    Raises:
        UsageError: it makes something else.
    """
    standard = sys.modules.get("socketserver")
    if standard is not None and issubclass(target, standard.BaseServer):
        raise UsageError(
            f"{target.__name__} is a server of the standard library: derive it from greensock's, "
            f"or run its program with greensock run"
        )
    try:
        makes_handlers = (
            _takes(inspect.signature(target), 3) and target.__init__ is not object.__init__
        )
    except (TypeError, ValueError):
        makes_handlers = False
    if not makes_handlers:
        raise UsageError(
            f"{target.__name__} is no handler and no server: it must be made with a request, an "
            f"address and a server"
        )


def _under(base: type, mixin: type | None, names: dict[str, Any]) -> Any:
    """A class of `base` whose requests run where `mixin` says, whatever `base` itself has."""
    others = {each for each in MIXINS.values() if each is not None and each is not mixin}
    bases = (base,) if mixin is None or issubclass(base, mixin) else (mixin, base)
    if others.isdisjoint(base.__mro__):
        return type(base.__name__, bases, names)

    def mro(cls: Any) -> Any:
        return [each for each in type.mro(cls) if each not in others]

    # Two mixins in one class would each have half of its say.
    without: Any = type("Without", (type(base),), {"mro": mro})
    return without(base.__name__, bases, names)


def _arguments(server_class: Any, sockaddr: Any, handler: Any) -> tuple[Any, ...]:
    """What the constructor is called with: an address and a handler, or an address alone."""
    try:
        signature = inspect.signature(server_class)
    except (TypeError, ValueError):
        return sockaddr, handler
    for arguments in ((sockaddr, handler), (sockaddr,)):
        if arguments[1:] == (None,):
            continue
        try:
            signature.bind(*arguments)
        except TypeError:
            continue
        return arguments
    if handler is None and _takes(signature, 2):
        raise UsageError(
            f"{server_class.__name__} must have a class attribute RequestHandlerClass to be served,"
            f" or be made with an address alone"
        )
    raise UsageError(
        f"{server_class.__name__} must be made with an address, or an address and a handler, to be "
        f"served; it is made with {signature}"
    )


def _takes(signature: inspect.Signature, number: int) -> bool:
    try:
        signature.bind(*[None] * number)
    except TypeError:
        return False
    return True


def _defaults(server_class: Any) -> dict[str, Any]:
    """What suits a program whose server is all it is, where its class does not say otherwise."""
    names: dict[str, Any] = {}
    if server_class.graceful_timeout is None:
        names["graceful_timeout"] = _GRACEFUL_TIMEOUT
    if server_class.stall_timeout is None and not issubclass(server_class, ForkingMixIn):
        # Not where handlers are in children: it takes a thread, and none is to be there at a fork.
        names["stall_timeout"] = _STALL_TIMEOUT
    if issubclass(server_class, ThreadingMixIn):
        # A thread that is stuck when its time is over does not keep the program.
        names["daemon_threads"] = True
    return names


def _server_class(address: Address) -> type[stream.TCPServer]:
    if address.scheme == "unix":
        return stream.UnixStreamServer
    return datagram.UDPServer if address.scheme == "udp" else stream.TCPServer


def _remove_stale_socket(path: str) -> None:
    """Remove a Unix socket file that a server left behind which is no longer there."""
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return
    except (OSError, ValueError):
        return
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
        except OSError:
            return
