"""Clients who say nothing, too little, or nothing any more."""

from __future__ import annotations

import contextlib
import socket
import time

from greensock.processes.connections import probed_by_keepalive
from greensock.torture.bench import Bench
from greensock.torture.exchange import Lost, ask, describe, half_of, is_lost
from greensock.torture.verdicts import NotApplicable


def silent(bench: Bench) -> None:
    """Clients connect and say nothing.

    Passes if the others are served beside them, and the server uses no CPU for them: an idle client
    must cost nobody else a place. It need not hang up on them; idle clients may be its business.
    """
    socks = bench.clients(bench.settings.clients)
    bench.hold(bench.settings.hold)
    bench.judge_spin("beside silent clients")
    bench.note(f"{len(socks)} silent clients, {_ended(socks)} hung up on")


def trickle(bench: Bench) -> None:
    """Clients send a byte a second of a line that never ends.

    Passes if the others are served beside them. (A server may have a bound for how many clients it
    is busy with, and these keep it busy: with fewer of them than that, it must not show. One that
    serves one client at a time fails, if it begins before the line is whole.)
    """
    socks = bench.clients(bench.settings.clients)
    next_byte = 0.0

    def send_when_due() -> None:
        nonlocal next_byte
        if time.monotonic() >= next_byte:
            next_byte = time.monotonic() + 1.0
            for sock in socks:
                # Whom the server has hung up on is counted below.
                with contextlib.suppress(OSError):
                    sock.send(b"x")

    bench.hold(bench.settings.hold, send_when_due)
    bench.note(f"{len(socks)} clients, {_ended(socks)} hung up on")


def half_line(bench: Bench) -> None:
    """Clients send half a request, and no more.

    Passes if the others are served beside them, and the server uses no CPU for them. As in
    `trickle`, they may keep the server busy, and one that serves one client at a time fails.
    """
    socks = bench.clients(bench.settings.clients)
    half = half_of(bench.exchange)
    for sock in socks:
        with contextlib.suppress(OSError):
            sock.send(half)
    bench.hold(bench.settings.hold)
    bench.judge_spin("beside half requests")
    bench.note(f"{len(socks)} half requests, {_ended(socks)} hung up on")


def half_open(bench: Bench) -> None:
    """Clients vanish without a word, as when a cable is pulled.

    Passes if the server would find out: the kernel sends keep-alive probes on its connections
    (its list of connections says so, in which nobody need wait for hours), or it hangs up on
    clients who are silent for as long as this case lasts. Else a dead client stays for ever.
    """
    target = bench.target
    if target.is_unix:
        raise NotApplicable("the ends of a Unix socket cannot lose each other")
    if not target.is_local:
        raise NotApplicable("only the kernel of the server's machine knows, and that is another")
    socks = bench.clients(min(bench.settings.clients, 20))
    for number, sock in enumerate(socks):
        with contextlib.suppress(Lost):
            ask(sock, bench.exchange, number, bench.settings.patience)
    bench.hold(min(bench.settings.hold, 0.5))
    left = [sock for sock in socks if not is_lost(sock)]
    if not left:
        bench.note("the server hangs up on silent clients")
        return
    ports = {sock.getsockname()[1] for sock in left}
    pid = None if bench.view is None else bench.view.pid
    probed = probed_by_keepalive(target.sockaddr[1], ports, pid)
    if probed is None:
        raise NotApplicable("the kernel does not list the server's connections")
    if probed < len(left):
        bench.fault(f"{len(left) - probed} of {len(left)} connections have no keep-alive timer")
    bench.note(f"{probed} of {len(left)} connections have a keep-alive timer")


def half_closed(bench: Bench) -> None:
    """Clients ask, and say that this was all, but stay to listen.

    Passes if each is answered, and the server then ends the connection: one kept would be a
    descriptor lost, and one watched for reading, a CPU.
    """
    socks = bench.clients(bench.settings.clients)
    patience = bench.settings.patience
    unanswered = unended = 0
    for number, sock in enumerate(socks):
        with contextlib.suppress(OSError):
            if bench.target.is_tls:
                # TLS of the standard library cannot listen once it has said goodbye.
                with contextlib.suppress(Lost):
                    ask(sock, bench.exchange, number, patience)
                sock.shutdown(socket.SHUT_WR)
            else:
                sock.sendall(bench.exchange.question(number))
                sock.shutdown(socket.SHUT_WR)
    deadline = time.monotonic() + bench.settings.big_wait
    for number, sock in enumerate(socks):
        received, ended = _to_the_end(sock, deadline)
        unended += not ended
        with contextlib.suppress(Lost):
            if bench.target.is_tls or bench.exchange.is_answer(number, received):
                continue
        unanswered += 1
    if unanswered:
        bench.fault(f"{unanswered} of {len(socks)} were not answered")
    if unended:
        bench.fault(f"{unended} of {len(socks)} connections stay open after their client's end")
    bench.note(f"{len(socks)} clients answered and hung up on")


def _to_the_end(sock: socket.socket, deadline: float) -> tuple[bytes, bool]:
    """All that the server sends, and whether it then hung up before the deadline."""
    received = b""
    try:
        while True:
            sock.settimeout(max(deadline - time.monotonic(), 0.001))
            part = sock.recv(65536)
            if not part:
                return received, True
            received += part
    except TimeoutError:
        return received, False
    except OSError as error:
        return received, bool(describe(error))


def _ended(socks: list[socket.socket]) -> int:
    return sum(map(is_lost, socks))
