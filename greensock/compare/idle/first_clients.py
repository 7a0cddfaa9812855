"""Does the server answer at all? Asked before anything is measured, to say so in one sentence."""

from __future__ import annotations

import socket
import time
from contextlib import suppress

from greensock.compare.idle.idle_clients import describe, reply_is_complete
from greensock.compare.idle.idle_holder import IdleHolder, Opened
from greensock.compare.idle.idle_phase import PATIENCE
from greensock.compare.under_test.server_process import ServerFailed, ServerProcess
from greensock.printable import printable

# Clients that come and go before the base reading, so that what a server loads or allocates
# for its very first clients is not booked on the idle ones.
FIRST_CLIENTS = 16
RESEND = 0.5  # seconds after which a datagram is asked again: one may be lost


def check_answers(holder: IdleHolder, server: ServerProcess) -> None:
    """Let a few clients come and go; ServerFailed when the handler does not answer each of them."""
    first = holder.answers(FIRST_CLIENTS, patience=PATIENCE)
    server.check_alive("with its first client")
    hint = (
        "try --expect for other answers, --scenario http for HTTP, and for another protocol "
        "--locustfile FILE with --idle-probe TEXT"
    )
    if any("within its reply" in reason for reason in first.errors):
        # As the documentation's first example does: one answer, no line feed, good-bye.
        hint = "for one that closes after its answer try --scenario churn --expect any"
    require(first, "clients", server, asked(holder.payload or "", holder.expect), hint)


def check_datagrams(server: ServerProcess, payload: str, expect: str) -> None:
    """The same over UDP."""
    first = ask_datagrams(server.address, payload.encode("latin-1"), expect)
    server.check_alive("with its first datagram")
    hint = "for another protocol try --locustfile FILE"
    if expect == "same":
        hint = f"for one that answers otherwise try --expect any; {hint}"
    require(first, "datagrams", server, asked(payload, expect), hint)


def asked(payload: str, expect: str) -> str:
    """What was sent, and what was to be the answer."""
    shown = printable(payload if len(payload) <= 40 else f"{payload[:24]}...{payload[-4:]}")
    return f'each was sent "{shown}" ({len(payload)} bytes) and waited for {_in_words(expect)}'


def _in_words(expect: str) -> str:
    words = {
        "same": "the same bytes",
        "line": "a line",
        "len": "as many bytes",
        "any": "any byte",
    }
    return f"{words.get(expect, 'a match')} (--expect {expect})"


def require(first: Opened, what: str, server: ServerProcess, sent: str, hint: str) -> None:
    if first.held == first.asked:
        return
    reason = next(iter(first.errors), f"no complete reply within {PATIENCE:.0f} s")
    said = server.last_line()
    told = f"; the server's last line is: {said}" if said else ""
    raise ServerFailed(
        f"the handler answered {first.held} of its first {first.asked} {what} ({reason})"
        f"{told}; {sent}; {hint}"
    )


def ask_datagrams(address: str, payload: bytes, expect: str) -> Opened:
    """Send datagrams one after the other, each until it is answered or patience is over."""
    host, port = address.removeprefix("udp://").rsplit(":", 1)
    opened = Opened(asked=FIRST_CLIENTS)
    for number in range(FIRST_CLIENTS):
        try:
            if ask_datagram((host.strip("[]"), int(port)), payload, expect):
                opened.held += 1
                continue
        except (OSError, ValueError) as error:
            opened.errors[describe(error)] = FIRST_CLIENTS - number
        break
    return opened


def ask_datagram(place: tuple[str, int], payload: bytes, expect: str) -> bool:
    """Whether the right reply came; ValueError for a wrong one, OSError for a refusal."""
    family = socket.AF_INET6 if ":" in place[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.connect(place)
        sock.settimeout(RESEND)
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            sock.send(payload)
            with suppress(TimeoutError):
                if reply_is_complete(sock.recv(65536), payload, expect):
                    return True
                raise ValueError("a reply that is not what --expect says")
    return False
