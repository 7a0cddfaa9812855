"""`greensock serve TARGET`: serve a handler, under any mixin, until told to stop."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import signal
import socket
import stat
import sys
from typing import Any

from greensock import datagram_servers, servers
from greensock.cli.targets import load_target, parse_setting
from greensock.cli.usage import UsageError
from greensock.mixins.forks import ForkingMixIn
from greensock.mixins.greenlets import GreenletMixIn
from greensock.mixins.threads import ThreadingMixIn
from greensock.net import addresses, open_files
from greensock.net.addresses import Address

MIXINS: dict[str, type | None] = {
    "greenlet": GreenletMixIn,
    "threading": ThreadingMixIn,
    "forking": ForkingMixIn,
    "none": None,
}

_DESCRIPTION = """\
Serve a handler until SIGTERM or Ctrl-C.

TARGET is package.module:Handler or path/to/file.py:Handler; a server class may stand for the
handler, if it is made with an address only. Prints one line on standard output when it is ready:
listening on tcp://127.0.0.1:9999"""


def add_parser(subparsers: Any) -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "serve",
        help="serve a handler under a mixin",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("target", metavar="TARGET")
    parser.add_argument(
        "--mixin",
        choices=list(MIXINS),
        default="greenlet",
        help="where turns run (default: greenlet)",
    )
    parser.add_argument(
        "--bind",
        metavar="ADDRESS",
        default="127.0.0.1:9999",
        help="host:port, [::1]:port, tcp://host:port, udp://host:port or unix:PATH; port 0 is "
        "a free one (default: 127.0.0.1:9999)",
    )
    parser.add_argument(
        "--set",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        dest="settings",
        help="a class attribute of the server, such as max_children=200; may be repeated",
    )
    parser.add_argument(
        "--verbose", action="store_true", help="log what the server does, to standard error"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Serve; return the exit status."""
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.DEBUG if args.verbose else logging.WARNING,
        format="%(asctime)s %(name)s %(levelname)s %(message)s",
    )
    try:
        address = addresses.parse(args.bind)
    except ValueError as error:
        raise UsageError(f"--bind: {error}") from error
    open_files.raise_limit()
    target = load_target(args.target)
    settings = dict(parse_setting(text) for text in args.settings)
    server = make_server(target, MIXINS[args.mixin], address, settings)
    with server:
        _serve(server, address)
    if address.scheme == "unix":
        with contextlib.suppress(FileNotFoundError):
            os.unlink(address.host)
    return 0


def make_server(
    target: type, mixin: type | None, address: Address, settings: dict[str, Any]
) -> servers.BaseServer:
    """A server of `target` at `address` with `mixin` in front of it.

    Raises:
        UsageError: the address or a setting cannot be used.
    """
    if issubclass(target, servers.BaseServer):
        base, handler = target, _handler_of(target)
    else:
        base, handler = _server_class(address), target
    bases = (base,) if mixin is None or issubclass(base, mixin) else (mixin, base)
    names = {"allow_reuse_address": True, "address_family": address.family}
    for name in settings:
        if not hasattr(type("_", bases, {}), name):
            raise UsageError(f"--set: {base.__name__} has no attribute {name}")
    server_class: Any = type(base.__name__, bases, names | settings)
    if address.scheme == "unix":
        _remove_stale_socket(address.host)
    try:
        return server_class(address.sockaddr, handler)  # type: ignore[no-any-return]
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"cannot listen on {address}: {reason}") from error


def _server_class(address: Address) -> type[servers.TCPServer]:
    if address.scheme == "unix":
        return servers.UnixStreamServer
    return datagram_servers.UDPServer if address.scheme == "udp" else servers.TCPServer


def _handler_of(server_class: type) -> Any:
    handler = getattr(server_class, "RequestHandlerClass", None)
    if handler is None:
        raise UsageError(
            f"{server_class.__name__} must have a class attribute RequestHandlerClass to be served"
        )
    return handler


def _remove_stale_socket(path: str) -> None:
    """Remove a Unix socket file that a server left behind which is no longer there."""
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return
    except OSError:
        return
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
        except OSError:
            return


def _serve(server: Any, address: Address) -> None:
    def stop(signum: int, frame: object) -> None:
        server.shutdown()

    previous = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        scheme = "udp" if server.socket_type == socket.SOCK_DGRAM else "tcp"
        print(f"listening on {addresses.describe(server.socket, scheme)}", flush=True)
        server.serve_forever()
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        # Ended by a signal, a server does not wait for clients who never end.
        server.block_on_close = False
