"""The settings that bound what clients may take of a server, and what may be set for them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

OVERFLOWS = ("pause", "reject", "evict")


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return _is_whole(value) or isinstance(value, float)


def _positive_integer(name: str, value: Any) -> None:
    if value is not None and not (_is_whole(value) and value > 0):
        raise ValueError(f"{name} must be a positive integer or None, not {value!r}")


def _positive_seconds(name: str, value: Any) -> None:
    if value is not None and not (_is_number(value) and 0 < value < math.inf):
        raise ValueError(f"{name} must be a positive number of seconds or None, not {value!r}")


def _seconds(name: str, value: Any) -> None:
    if value is not None and not (_is_number(value) and 0 <= value < math.inf):
        raise ValueError(f"{name} must be a number of seconds, 0 or more, or None, not {value!r}")


def _overflow(name: str, value: Any) -> None:
    if value not in OVERFLOWS:
        raise ValueError(f"{name} must be 'pause', 'reject' or 'evict', not {value!r}")


def _keepalive(name: str, value: Any) -> None:
    if value is None:
        return
    if not (
        isinstance(value, tuple)
        and len(value) == 3
        and all(_is_whole(each) and 0 < each < 32768 for each in value)
    ):
        raise ValueError(
            f"{name} must be None or three integers from 1 to 32767 (seconds of silence before the "
            f"first probe, seconds between probes, number of probes), not {value!r}"
        )


def _prefixes(name: str, value: Any) -> None:
    if not (
        isinstance(value, tuple)
        and len(value) == 2
        and all(map(_is_whole, value))
        and 0 <= value[0] <= 32
        and 0 <= value[1] <= 128
    ):
        raise ValueError(
            f"{name} must be two prefix lengths, for IPv4 (0 to 32) and IPv6 (0 to 128), "
            f"not {value!r}"
        )


def _networks(name: str, value: Any) -> None:
    try:
        if isinstance(value, str):
            raise ValueError
        for each in value:
            # Here, where there is one: see `admission`.
            import ipaddress

            ipaddress.ip_network(each)
    except (TypeError, ValueError):
        raise ValueError(
            f"{name} must be a sequence of addresses and networks such as '10.0.0.0/8', "
            f"not {value!r}"
        ) from None


#: What checks each setting, by its name.
CHECKS: dict[str, Callable[[str, Any], None]] = {
    "max_connections": _positive_integer,
    "max_connections_per_ip": _positive_integer,
    "max_greenlets": _positive_integer,
    "max_threads": _positive_integer,
    "max_children": _positive_integer,
    "idle_timeout": _positive_seconds,
    "write_timeout": _positive_seconds,
    "stall_timeout": _positive_seconds,
    "graceful_timeout": _seconds,
    "overflow": _overflow,
    "tcp_keepalive": _keepalive,
    "ip_prefix": _prefixes,
    "trusted_ips": _networks,
}


def check(name: str, value: Any) -> None:
    """Check the value of a setting; any name that is none passes.

    Raises:
        ValueError: it cannot be used; the message says what can.
    """
    checked_by = CHECKS.get(name)
    if checked_by is not None:
        checked_by(name, value)


def check_all(server: Any) -> None:
    """Check all the settings that `server` has, its class's included; raises as `check`."""
    for name, checked_by in CHECKS.items():
        if hasattr(server, name):
            checked_by(name, getattr(server, name))
