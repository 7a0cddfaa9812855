"""What is done to the TLS servers of a soak."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import ssl
import struct
import time
from collections.abc import Callable

from loadtests.soaking.certificates import NAME
from loadtests.soaking.counting import CountedSocket
from loadtests.soaking.stage import PATIENCE, Stage

_SOON = 5.0

_GARBAGE = (b"GET / HTTP/1.0\r\n\r\n", b"\x00" * 512, b"\x16\x03\x01" * 99)


def spoiled_handshakes(stage: Stage) -> None:
    """Clients who are silent, break off amid the handshake, or send what is none."""
    for _ in range(10):
        for spoil in (_leave, _reset_amid, _leave_amid, *map(_send, _GARBAGE)):
            if stage.over.is_set():
                return
            with contextlib.suppress(OSError), stage.connect("tls", _SOON) as sock:
                stage.spoil("tls")
                spoil(stage, sock)
        stage.over.wait(0.1)


def _leave(stage: Stage, sock: CountedSocket) -> None:
    stage.over.wait(0.02)


def _reset_amid(stage: Stage, sock: CountedSocket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.sendall(_hello(stage))
    # Whatever the server says: now it waits for the client.
    sock.recv(1)


def _leave_amid(stage: Stage, sock: CountedSocket) -> None:
    hello = _hello(stage)
    sock.sendall(hello[: len(hello) // 2])


def _send(garbage: bytes) -> Callable[[Stage, CountedSocket], None]:
    def send(stage: Stage, sock: CountedSocket) -> None:
        sock.sendall(garbage)
        sock.shutdown(socket.SHUT_WR)
        try:
            while sock.recv(4096):
                pass
        except TimeoutError:
            stage.count.hung.append(f"the server keeps a client who sent {garbage[:9]!r}...")

    return send


def _hello(stage: Stage) -> bytes:
    """The first message of a handshake."""
    assert stage.tls is not None
    outgoing = ssl.MemoryBIO()
    handshake = stage.tls.context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=NAME)
    with contextlib.suppress(ssl.SSLWantReadError):
        handshake.do_handshake()
    return outgoing.read()


def new_certificate(stage: Stage) -> None:
    """The server is given another certificate, which is what new clients must see then."""
    assert stage.tls is not None
    for _ in range(2):
        expected = stage.tls.certificates.renew(stage.tls.path)
        os.kill(stage.views["tls"].pid, signal.SIGHUP)
        end = time.monotonic() + PATIENCE
        while _certificate_seen(stage) != expected:
            if time.monotonic() > end:
                stage.count.wrong.append("new clients see the old certificate")
                return
            time.sleep(0.01)
        if stage.over.wait(1.0):
            return


def _certificate_seen(stage: Stage) -> bytes | None:
    """What a new client sees; None if it is not served."""
    with contextlib.suppress(OSError):
        plain = stage.connect("tls", _SOON)
        with stage.shake_hands(plain) as tls:
            return tls.getpeercert(binary_form=True)
    return None
