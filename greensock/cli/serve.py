"""`greensock serve TARGET`: serve a handler, under any mixin, until told to stop."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any

from greensock.arguments.targets import load_target, parse_setting
from greensock.arguments.usage import UsageError
from greensock.cli.programs import seeing, seeing_options
from greensock.cli.served.served_class import MIXINS, make_server, usual_mixin
from greensock.cli.served.tls import tls_settings
from greensock.net import addresses, open_files

__all__ = ["MIXINS", "add_parser", "make_server", "run"]

_log = logging.getLogger("greensock.serve")

# Seconds that a drain may take which has no limit: three years, since timers want a number.
_NEVER = 1e8

_DESCRIPTION = """\
Serve a handler until SIGTERM or Ctrl-C. The first lets busy handlers finish, for
graceful_timeout seconds (30) at most; the second ends it at once. SIGUSR1 writes a table of the
clients to standard error.

TARGET is package.module:Handler or path/to/file.py:Handler. A server class may stand for the
handler, if it is made with an address and a handler and has a class attribute
RequestHandlerClass, or if it is made with an address alone; it keeps its mixin. Prints one line on
standard output when it is ready: listening on tcp://127.0.0.1:9999 (tls:// with --tls-cert)"""


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
        help="where turns run (default: greenlet; a server class's own, or none if it has none)",
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
        help="a class attribute of the server or the handler, such as max_children=200, or of one "
        "class, such as Handler.timeout=60; may be repeated",
    )
    seeing_options.add_options(parser)
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
    make_context = tls_settings(args, address, target)
    if make_context is not None:
        settings = {"ssl_context": make_context()} | settings
    mixin = usual_mixin(target) if args.mixin is None else MIXINS[args.mixin]
    server = make_server(target, mixin, address, settings)
    with server, seeing.seen(server, args):
        _serve(server, make_context)
    if address.scheme == "unix":
        with contextlib.suppress(FileNotFoundError):
            os.unlink(address.host)
    return 0


def _serve(server: Any, make_context: Callable[[], Any] | None) -> None:
    def stop(signum: int, frame: object) -> None:
        timeout = server.graceful_timeout
        server._greensock.lifecycle.drain_or_hurry(_NEVER if timeout is None else timeout)

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
