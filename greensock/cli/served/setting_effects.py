"""`--set` of `greensock serve`: what it is set on, and whether that changes anything.

What would do nothing is refused: whoever has set a timeout that nobody looks at believes that
silent clients are closed.
"""

from __future__ import annotations

import socket
from typing import Any

from greensock.arguments.usage import UsageError
from greensock.handlers.classes import check_class_settings
from greensock.handlers.traits import HandlerTraits
from greensock.net.addresses import Address
from greensock.settings.values import check_value, is_setting

# What says it in place of a setting.
_SAID_OTHERWISE = {
    "address_family": "--bind says where the server listens",
    "socket_type": "--bind says where the server listens",
    "ssl_context": "--tls-cert makes it",
}

_OF_STREAMS = frozenset(
    (
        "handshake_timeout",
        "idle_timeout",
        "max_connections",
        "overflow",
        "request_queue_size",
    )
)
_OF_TCP = frozenset(
    (
        "ip_prefix",
        "max_connections_per_ip",
        "tcp_keepalive",
        "tcp_nodelay",
        "trusted_ips",
        "write_timeout",
    )
)


def apply_all(settings: dict[str, Any], server_class: Any, handler: Any, address: Address) -> None:
    """Set them all, in whatever order they came; as `apply`."""
    for name, value in sorted(settings.items(), key=lambda item: item[0] in _OF_OTHERS):
        apply(name, value, server_class, handler, address)


def apply(name: str, value: Any, server_class: Any, handler: Any, address: Address) -> None:
    """Set `NAME` on the server's class and the handler's, or `Class.NAME` on the one of the two.

    Args:
        server_class: made for this, and nobody else's.
        handler: the handler's class, or None where the server alone knows it.

    Raises:
        UsageError: neither has such an attribute, it cannot be that, or it would do nothing.
    """
    class_name, _, attribute = name.rpartition(".")
    classes = [server_class] + ([handler] if isinstance(handler, type) else [])
    if class_name:
        named = [cls for cls in classes if any(base.__name__ == class_name for base in cls.__mro__)]
        if not named:
            there = " and ".join(cls.__name__ for cls in classes)
            raise UsageError(f"--set: there is no class {class_name} here, but {there}")
        classes = named
    said_otherwise = attribute in _SAID_OTHERWISE and is_setting(server_class, attribute)
    if said_otherwise and not hasattr(value, "wrap_socket"):
        raise UsageError(f"--set: {attribute} is not for --set: {_SAID_OTHERWISE[attribute]}")
    takers = [cls for cls in classes if is_setting(cls, attribute)]
    if not takers:
        others = "".join(f", nor has {cls.__name__}" for cls in classes[1:])
        raise UsageError(f"--set: {classes[0].__name__} has no attribute {attribute}{others}")
    reasons = [
        _why_not(attribute, value, server_class, address)
        if cls is server_class
        else _why_not_of_handler(attribute, value, server_class, handler)
        for cls in takers
    ]
    if None not in reasons:
        raise UsageError(f"--set: {name} would do nothing: {reasons[-1]}")
    for cls in takers:
        try:
            check_value(cls, attribute, value)
            setattr(cls, attribute, value)
            check_class_settings(cls)
        except (ValueError, TypeError) as error:
            raise UsageError(f"--set: {error}") from error


def _why_not(name: str, value: Any, server_class: Any, address: Address) -> str | None:
    """Why an attribute of the server changes nothing; None: it may."""
    if name == "timeout":
        return (
            "a server's is for handle_request(), which is not called here; idle_timeout closes "
            "silent clients"
        )
    if server_class.socket_type == socket.SOCK_DGRAM:
        return (
            "there are no clients to count or close, only datagrams"
            if name in _OF_STREAMS | _OF_TCP
            else None
        )
    if name in _OF_TCP and address.scheme == "unix":
        return "it is for TCP, and this is a Unix socket"
    if name in ("ip_prefix", "trusted_ips") and server_class.max_connections_per_ip is None:
        return "it is for max_connections_per_ip, which is None"
    if name == "handshake_timeout" and getattr(server_class, "ssl_context", None) is None:
        return "there is no TLS; --tls-cert serves it"
    return None


# Those that mean something beside another one only.
_OF_OTHERS = frozenset(("handshake_timeout", "ip_prefix", "request_terminator", "trusted_ips"))


def _why_not_of_handler(name: str, value: Any, server_class: Any, handler: Any) -> str | None:
    """Why an attribute of the handler changes nothing; None: it may."""
    traits = HandlerTraits(handler)
    if server_class.socket_type == socket.SOCK_DGRAM:
        if name in ("timeout", "parkable", "defer_until_data", "max_line_size"):
            return "there are no clients, only datagrams"
        return None
    if name == "request_terminator":
        if getattr(server_class, "ssl_context", None) is not None:
            return "over TLS nobody can see where a request ends"
        if not traits.request_wise:
            return f"{handler.__name__} has a handle() of its own, which looks for its requests"
    if name == "parkable" and value and not hasattr(handler, "handle_one_request"):
        return f"{handler.__name__} has no handle_one_request(), by which its clients are parked"
    return None
