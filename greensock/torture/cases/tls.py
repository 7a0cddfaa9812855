"""Clients of a TLS server who never finish the handshake."""

from __future__ import annotations

import contextlib
import socket
import ssl
from typing import Any

from greensock.torture.bench import Bench
from greensock.torture.exchange import is_lost
from greensock.torture.verdicts import NotApplicable


def tls_silent(bench: Bench) -> None:
    """Clients connect to the TLS server and never begin the handshake.

    Passes if others, who do, are served beside them, and the server uses no CPU for them: a
    handshake done where clients are accepted lets one silent client stop them all. It need not
    hang up within the time that this lasts.
    """
    socks = _raw_clients(bench)
    bench.hold(bench.settings.hold)
    bench.judge_spin("beside clients silent before TLS")
    bench.note(f"{len(socks)} clients, {sum(map(is_lost, socks))} hung up on")


def tls_half_hello(bench: Bench) -> None:
    """Clients send half of the handshake's first message, and no more.

    Passes if others are served beside them, and the server uses no CPU for them.
    """
    socks = _raw_clients(bench)
    hello = _client_hello()
    for sock in socks:
        with contextlib.suppress(OSError):
            sock.send(hello[: len(hello) // 2])
    bench.hold(bench.settings.hold)
    bench.judge_spin("beside half handshakes")
    bench.note(f"{len(socks)} clients, {sum(map(is_lost, socks))} hung up on")


def tls_garbage(bench: Bench) -> None:
    """Clients send to the TLS server what is no TLS.

    Passes if the server hangs up on each of them, others are served beside them, nothing of theirs
    stays behind, and (with --command) no traceback for each.
    """
    socks = _raw_clients(bench)
    garbage = (
        b"GET / HTTP/1.0\r\n\r\n",
        b"\x00" * 512,
        bytes(range(256)) * 4,
        b"\x16\x03\x01" * 99,
    )
    for number, sock in enumerate(socks):
        with contextlib.suppress(OSError):
            sock.send(garbage[number % len(garbage)])
            sock.shutdown(socket.SHUT_WR)
    left = sum(not _ends(sock, bench.settings.big_wait) for sock in socks)
    if left:
        bench.fault(f"{left} of {len(socks)} connections stay open")
    bench.note(f"{len(socks)} clients, all hung up on")


def _raw_clients(bench: Bench) -> list[Any]:
    socks = []
    for _ in range(bench.settings.clients):
        with contextlib.suppress(OSError):
            sock = bench.target.connect_raw(bench.settings.patience, bench.source())
            bench.stack.callback(sock.close)
            socks.append(sock)
    if not socks:
        raise NotApplicable("no bad client could connect")
    return socks


def _client_hello() -> bytes:
    """The first message of a handshake."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    outgoing = ssl.MemoryBIO()
    handshake = context.wrap_bio(ssl.MemoryBIO(), outgoing)
    with contextlib.suppress(ssl.SSLWantReadError):
        handshake.do_handshake()
    return outgoing.read()


def _ends(sock: socket.socket, patience: float) -> bool:
    """Whether the server hangs up within so many seconds, whatever it says before."""
    sock.settimeout(patience)
    try:
        while sock.recv(65536):
            pass
    except TimeoutError:
        return False
    except OSError:
        return True
    return True
