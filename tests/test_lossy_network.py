"""A network that loses packets, delays and reorders them: late is all that anything may be.

Every packet, the handshakes' too, goes through `tests.lossy_network`. Lost ones come again after
200 ms, after a second where a connection begins: no bound on times here.
"""

import faulthandler
import hashlib
import os
import random
import socket
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import pytest

from .clients import Client, eventually, receive_all, wait_until_parked
from .lossy_network import LINKS, UNAVAILABLE, command
from .separate_process import PATCHED, REPOSITORY, UNPATCHED
from .server_kinds import MIXINS, Echo, server_class

#: Seconds after which a client, and a scenario, count as stuck. A packet that is lost five times
#: in a row comes after 13 s, a connection's first after a minute.
PATIENCE = 80.0

CLIENTS = 16
EXCHANGES = 3
LARGE = 200_000


class Large(Echo):
    """An echo that marks which clients ask for much, and answers these with that."""

    marks: ClassVar[int]

    def handle_one_request(self) -> None:
        line = self.rfile.readline()
        if line.startswith(b"much "):
            number = int(line.split()[1])
            os.pwrite(self.marks, b"!", number)
            line = large_answer(number)
        self.wfile.write(line)


def large_answer(number: int) -> bytes:
    return random.Random(number).randbytes(LARGE)


def connect_patiently(number: int, address: Any) -> Client:
    client = Client()
    client.settimeout(PATIENCE)
    if number % 3 == 0:
        # A window of three packets.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    elif number % 3 == 1:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
    client.connect(address)
    return client


def be_answered(number: int, client: Client) -> None:
    """Lines of all sizes, some of many packets."""
    for _ in range(EXCHANGES):
        size = random.choice([1, 100, 2000, 40_000])
        line = random.randbytes(size).replace(b"\n", b"?") + b"\n"
        client.sendall(line)
        answer = b""
        while len(answer) < len(line):
            part = client.recv(65536)
            assert part, f"client {number} was answered {len(answer)} of {len(line)} bytes"
            answer += part
        assert answer == line


def take_large_answer(number: int, client: Client) -> str:
    """The digest of what comes before the connection ends, "" for nothing."""
    try:
        client.sendall(b"much %d\n" % number)
        answer = receive_all(client)
    except ConnectionError:
        return ""
    return digest(answer) if answer else ""


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def lose_nothing(here: str, peer: str, mixin: str) -> None:
    faulthandler.dump_traceback_later(PATIENCE, exit=True)
    Large.marks = os.memfd_create("marks")
    kind = type("Patient", (server_class(mixin),), {"max_line_size": 1 << 16})
    server: Any = kind((here, 0), Large)
    address = (peer, server.server_address[1])
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    with ThreadPoolExecutor(CLIENTS) as pool:
        numbers = range(CLIENTS)
        clients = list(pool.map(connect_patiently, numbers, [address] * CLIENTS))
        list(pool.map(be_answered, numbers, clients))
        wait_until_parked(server, CLIENTS)
        assert server.stats().errors == server.stats().disconnects == 0

        taking = pool.map(take_large_answer, numbers, clients)
        eventually(lambda: os.fstat(Large.marks).st_size > 0)
        report = server.drain(PATIENCE)
        serving.join()
        server.server_close()
        begun = os.pread(Large.marks, CLIENTS, 0)
        assert report.cut == ()
        for number, taken in enumerate(taking):
            # Whoever was heard has the whole of it; who was not, was closed instead.
            wanted = digest(large_answer(number))
            assert taken in ((wanted,) if begun[number : number + 1] == b"!" else ("",)), number
    for client in clients:
        client.close()
    assert server.stats().open == 0
    assert packets_sent_again() > 0


def packets_sent_again() -> int:
    """How many, of TCP and of this namespace."""
    names, figures = (
        line.split() for line in Path("/proc/net/snmp").read_text().splitlines() if "Tcp:" in line
    )
    return int(figures[names.index("RetransSegs")])


@pytest.fixture(scope="session", params=LINKS)
def link(request: pytest.FixtureRequest) -> str:
    """A kind of link that this machine has."""
    run_on(request.param, UNPATCHED, "do_nothing")
    return str(request.param)


def do_nothing(here: str, peer: str) -> None:
    """For finding out what is there."""


def run_on(link: str, mode: str, scenario: str, *arguments: str) -> None:
    try:
        done = subprocess.run(
            command(link, mode, __name__, scenario, *arguments),
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            timeout=PATIENCE + 20,
        )
    except FileNotFoundError:
        pytest.skip("there is no program unshare (of util-linux)")
    said = done.stderr.strip()
    if done.returncode == UNAVAILABLE or said.startswith("unshare: "):
        pytest.skip(said)
    assert done.returncode == 0, said
    assert said == ""


@pytest.mark.parametrize("mode", [UNPATCHED, PATCHED])
@pytest.mark.parametrize("mixin", MIXINS)
def test_answers_are_right_and_nothing_is_lost(link: str, mode: str, mixin: str) -> None:
    run_on(link, mode, "lose_nothing", mixin)
