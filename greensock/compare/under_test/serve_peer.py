"""Serves a handler with servers that are not greensock's, to be compared with it.

    python serve_peer.py PEER TARGET --bind ADDRESS [--set NAME=VALUE ...]

PEER is stdlib-threading, stdlib-forking, stdlib-none (the standard library's own classes),
gevent-streamserver (gevent's StreamServer, over UDP its DatagramServer, calling the handler), or
patched-threading, patched-forking, patched-streamserver: the same in a monkey-patched process,
where threads are greenlets and what blocks a handler lets others run.
Prints `listening on ADDRESS` when ready; SIGTERM ends it with status 0.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from typing import Any, NoReturn

#: Before what the comparison is to say of this contender; on standard error.
NOTE = "greensock: note: "


class Unservable(Exception):
    """The target cannot be served by this peer; the text says why."""


def build_server_class(peer: str, target: type, transport: str) -> type:
    """The standard library's server class for the peer."""
    import socketserver

    plain: dict[str, type] = {
        "tcp": socketserver.TCPServer,
        "udp": socketserver.UDPServer,
        "unix": socketserver.UnixStreamServer,
    }
    base = target if issubclass(target, socketserver.BaseServer) else plain[transport]
    mixins: dict[str, type] = {
        "threading": socketserver.ThreadingMixIn,
        "forking": socketserver.ForkingMixIn,
    }
    kind = peer.partition("-")[2]
    bases = (mixins[kind], base) if kind in mixins else (base,)
    attributes: dict[str, Any] = {
        # Five, the default, drops the handshakes of an opening crowd: they would wait a second.
        "request_queue_size": 4096,
        "daemon_threads": True,
        "block_on_close": False,
    }
    return type("Peer", bases, attributes)


def serve_socketserver(
    peer: str, target: type, transport: str, address: Any, settings: list[str]
) -> None:
    import socketserver

    server_class = build_server_class(peer, target, transport)
    if issubclass(target, socketserver.BaseServer):
        handler = getattr(target, "RequestHandlerClass", None)
        if handler is None:
            raise Unservable(f"{target.__name__} is a server class without a RequestHandlerClass")
    else:
        handler = target
    apply_settings(settings, server_class, handler)
    with server_class(address, handler) as server:
        announce(transport, server.server_address)
        server.serve_forever()


def serve_gevent(target: Any, transport: str, address: Any) -> None:
    """gevent's own server, which calls the handler class as socketserver would."""
    import socket
    import socketserver

    import gevent.server
    import gevent.socket

    if issubclass(target, socketserver.BaseServer):
        raise Unservable("gevent's StreamServer serves a handler, not a server class")

    class Owner:
        """What a handler may look at as `self.server`."""

        server_address: Any = None
        socket: Any = None

    if transport == "udp":

        class Datagrams(gevent.server.DatagramServer):  # type: ignore[misc]
            def handle(self, data: bytes, client: Any) -> None:
                target((data, self.socket), client, Owner)

        server = Datagrams(address)
    else:

        def handle(sock: Any, client: Any) -> None:
            target(sock, client, Owner)

        listener = address
        if transport == "unix":
            listener = gevent.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            listener.bind(address)
            listener.listen(4096)
        server = gevent.server.StreamServer(listener, handle, backlog=4096)
    server.start()
    Owner.server_address, Owner.socket = server.address, server.socket
    announce(transport, address if transport == "unix" else server.socket.getsockname())
    server.serve_forever()


def apply_settings(texts: list[str], *classes: Any) -> None:
    """Set on the server's class and the handler's what they have; say what does nothing here.

    As `greensock serve` reads them, but that these servers know fewer.
    """
    from greensock.arguments.targets import parse_setting
    from greensock.arguments.usage import UsageError
    from greensock.settings.values import check_value, is_setting

    for text in texts:
        name, value = parse_setting(text)
        class_name, _, attribute = name.rpartition(".")
        takers = [
            cls
            for cls in classes
            if isinstance(cls, type)
            and is_setting(cls, attribute)
            and (not class_name or any(base.__name__ == class_name for base in cls.__mro__))
        ]
        for cls in takers:
            try:
                check_value(cls, attribute, value)
            except ValueError as error:
                raise UsageError(f"--set: {error}") from error
            setattr(cls, attribute, value)
        # The server's own timeout is for handle_request(), which nobody calls.
        if not takers or (attribute == "timeout" and takers == list(classes[:1])):
            print(f"{NOTE}--set {text} does nothing here", file=sys.stderr, flush=True)


def announce(transport: str, address: Any) -> None:
    where = f"unix:{address}" if transport == "unix" else f"{transport}://{address[0]}:{address[1]}"
    print(f"listening on {where}", flush=True)


def parse_bind(text: str) -> tuple[str, Any]:
    if text.startswith("unix:"):
        return "unix", text.removeprefix("unix:")
    transport, _, rest = text.partition("://")
    host, port = rest.rsplit(":", 1)
    return transport, (host, int(port))


def end(_number: int, _frame: object) -> NoReturn:
    # Not a return from serve_forever: handlers of idle clients would keep the process alive.
    os._exit(0)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("peer")
    parser.add_argument("target")
    parser.add_argument("--bind", required=True)
    parser.add_argument("--set", action="append", default=[], dest="settings")
    options = parser.parse_args()
    if options.peer.startswith("patched-"):
        # Before the target is imported, as its own program would do it.
        import gevent.monkey

        gevent.monkey.patch_all()
    from greensock.arguments.targets import load_target
    from greensock.arguments.usage import UsageError
    from greensock.compare.under_test.greenlet_count import answer_signals

    transport, address = parse_bind(options.bind)
    signal.signal(signal.SIGTERM, end)
    answer_signals()
    try:
        target = load_target(options.target)
        if options.peer.endswith("streamserver"):
            apply_settings(options.settings, None, target)
            serve_gevent(target, transport, address)
        else:
            serve_socketserver(options.peer, target, transport, address, options.settings)
    except (Unservable, UsageError) as error:
        print(f"greensock: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
