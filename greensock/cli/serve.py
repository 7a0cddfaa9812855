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
from collections.abc import Callable
from typing import Any

from greensock import base_server, datagram_servers, stream_servers
from greensock.cli import seeing
from greensock.cli.targets import load_target, parse_setting
from greensock.cli.tls import tls_settings
from greensock.cli.usage import UsageError
from greensock.mixins.forks import ForkingMixIn
from greensock.mixins.greenlets import GreenletMixIn
from greensock.mixins.threads import ThreadingMixIn
from greensock.net import addresses, open_files
from greensock.net.addresses import Address

_log = logging.getLogger("greensock.serve")

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

_DESCRIPTION = """\
Serve a handler until SIGTERM or Ctrl-C. The first lets busy handlers finish, for
graceful_timeout seconds (30) at most; the second ends it at once. SIGUSR1 writes a table of the
clients to standard error.

TARGET is package.module:Handler or path/to/file.py:Handler; a server class may stand for the
handler, if it is made with an address only. Prints one line on standard output when it is ready:
listening on tcp://127.0.0.1:9999 (tls:// with --tls-cert)"""


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
    seeing.add_options(parser)
    tls = parser.add_argument_group("TLS (SIGHUP reads the files again)")
    tls.add_argument(
        "--tls-cert", metavar="FILE", help="PEM file with the certificate and its chain: serve TLS"
    )
    tls.add_argument(
        "--tls-key", metavar="FILE", help="PEM file with its key (default: that of --tls-cert)"
    )
    tls.add_argument(
        "--tls-client-ca",
        metavar="FILE",
        help="PEM file with the authorities whose certificates clients must show (default: none)",
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
    make_context = tls_settings(args, address)
    if make_context is not None:
        settings["ssl_context"] = make_context()
    server = make_server(target, MIXINS[args.mixin], address, settings)
    with server, seeing.seen(server, args):
        _serve(server, make_context)
    if address.scheme == "unix":
        with contextlib.suppress(FileNotFoundError):
            os.unlink(address.host)
    return 0


def make_server(
    target: type, mixin: type | None, address: Address, settings: dict[str, Any]
) -> base_server.BaseServer:
    """A server of `target` at `address` with `mixin` in front of it.

    Raises:
        UsageError: the address or a setting cannot be used.
    """
    if issubclass(target, base_server.BaseServer):
        base, handler = target, _handler_of(target)
    else:
        base, handler = _server_class(address), target
    bases = (base,) if mixin is None or issubclass(base, mixin) else (mixin, base)
    names: dict[str, Any] = {"allow_reuse_address": True, "address_family": address.family}
    names |= _defaults(bases)
    for name in settings:
        if not hasattr(type("_", bases, {}), name):
            raise UsageError(f"--set: {base.__name__} has no attribute {name}")
    server_class: Any = type(base.__name__, bases, names | settings)
    if address.scheme == "unix":
        _remove_stale_socket(address.host)
    try:
        return server_class(address.sockaddr, handler)  # type: ignore[no-any-return]
    except ValueError as error:
        raise UsageError(f"--set: {error}") from error
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"cannot listen on {address}: {reason}") from error


def _defaults(bases: tuple[type, ...]) -> dict[str, Any]:
    """What suits a program whose server is all it is, where its class does not say otherwise."""
    server_class: Any = type("_", bases, {})
    names: dict[str, Any] = {}
    if server_class.graceful_timeout is None:
        names["graceful_timeout"] = _GRACEFUL_TIMEOUT
    if server_class.stall_timeout is None:
        names["stall_timeout"] = _STALL_TIMEOUT
    if issubclass(server_class, ThreadingMixIn):
        # A thread that is stuck when its time is over does not keep the program.
        names["daemon_threads"] = True
    return names


def _server_class(address: Address) -> type[stream_servers.TCPServer]:
    if address.scheme == "unix":
        return stream_servers.UnixStreamServer
    return datagram_servers.UDPServer if address.scheme == "udp" else stream_servers.TCPServer


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


def _serve(server: Any, make_context: Callable[[], Any] | None) -> None:
    def stop(signum: int, frame: object) -> None:
        server._drain_or_hurry(server.graceful_timeout)

    wishes: list[int] = []

    def reload(signum: int, frame: object) -> None:
        wishes.append(signum)
        if len(wishes) > 1:
            # Amid an earlier one, which may have read the old files and goes once more.
            return
        while make_context is not None and wishes:
            met = len(wishes)
            try:
                server.reload_tls(make_context())
            except UsageError as error:
                _log.warning("%s; the old certificate stays", error)
            finally:
                del wishes[:met]

    previous = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    if make_context is not None:
        previous[signal.SIGHUP] = signal.signal(signal.SIGHUP, reload)
    try:
        scheme = "udp" if server.socket_type == socket.SOCK_DGRAM else "tcp"
        if make_context is not None:
            scheme = "tls"
        print(f"listening on {addresses.describe(server.socket, scheme)}", flush=True)
        server.serve_forever()
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        # It was drained; what could not be ended is not waited for.
        server.block_on_close = False
