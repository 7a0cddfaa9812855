"""The `--tls-...` options of a command that serves."""

from __future__ import annotations

import argparse
import functools
import socket
from collections.abc import Callable
from typing import Any

from greensock.arguments.usage import UsageError
from greensock.net.addresses import Address


def tls_settings(
    args: argparse.Namespace, address: Address, target: type
) -> Callable[[], Any] | None:
    """What makes a context of the files that are named, or None where no TLS is wanted.

    `target` is what is served: a handler or a server class.

    It raises UsageError, each time that it is called, for files that are of no use.

    Raises:
        UsageError: the options do not go together.
    """
    if args.tls_cert is None:
        for name in ("tls_key", "tls_client_ca"):
            if getattr(args, name) is not None:
                raise UsageError(f"--{name.replace('_', '-')} needs --tls-cert")
        return None
    if address.scheme == "udp" or getattr(target, "socket_type", None) == socket.SOCK_DGRAM:
        raise UsageError("--tls-cert: there is no TLS for datagrams")
    return functools.partial(_make_context, args)


def _make_context(args: argparse.Namespace) -> Any:
    # Here, because `ssl` is loaded with it.
    from greensock.tls import contexts

    try:
        return contexts.server_context(args.tls_cert, args.tls_key, args.tls_client_ca)
    except OSError as error:
        raise UsageError(f"cannot read {error.filename}: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(str(error)) from error
