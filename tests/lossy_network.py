"""A network that loses, delays and reorders packets, for one process alone.

    unshare --user --net --map-root-user python -m tests.lossy_network LINK MODE MODULE SCENARIO ...

The namespace has nothing but this link: nothing of it leaves the process, nor outlives it. LINK is

- netem: the loopback device, with the kernel's own emulation of such a network;
- mirror: a tunnel device, whose other end is this program. It gives each packet back with its
  source and destination exchanged (which no checksum notices), later or never: so who connects to
  `PEER` reaches the server at `HERE`, as somebody at `PEER`. For kernels without netem.

Exit status: that of the scenario, or UNAVAILABLE, with the reason on standard error.
"""

import contextlib
import fcntl
import heapq
import importlib
import os
import random
import select
import socket
import struct
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

UNAVAILABLE = 77

NETEM, MIRROR = LINKS = ("netem", "mirror")

#: Of a hundred packets; and the seconds that each of the others takes at most, evenly spread.
LOSS = 5
MAX_DELAY = 0.006

#: Addresses that are set aside for documentation. (127.0.0.0/8 belongs to the loopback device.)
HERE, PEER = "192.0.2.1", "192.0.2.2"

_TUNSETIFF = 0x400454CA
_IFF_TUN_NO_PI = 0x1001
_SIOCSIFFLAGS, _SIOCSIFADDR, _SIOCSIFDSTADDR = 0x8914, 0x8916, 0x8918
_IFF_UP = 1


class Unavailable(Exception):
    """This machine has no such link."""


def command(*arguments: str) -> list[str]:
    """What runs this program in a network namespace of its own."""
    own = [sys.executable, "-m", "tests.lossy_network", *arguments]
    return ["unshare", "--user", "--net", "--map-root-user", *own]


def bring_up(device: bytes, **addresses: str) -> None:
    requests = {"here": _SIOCSIFADDR, "peer": _SIOCSIFDSTADDR}
    with socket.socket(type=socket.SOCK_DGRAM) as any_socket:
        for which, address in addresses.items():
            packed = struct.pack("16sHH4s16x", device, socket.AF_INET, 0, socket.inet_aton(address))
            fcntl.ioctl(any_socket, requests[which], packed)
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sH22x", device, _IFF_UP))


def have_netem() -> tuple[str, str]:
    bring_up(b"lo")
    delay = f"{MAX_DELAY * 500}ms"
    netem = ["netem", "delay", delay, delay, "loss", f"{LOSS}%"]
    try:
        subprocess.run(
            ["tc", "qdisc", "add", "dev", "lo", "root", *netem],
            check=True,
            stderr=subprocess.PIPE,
            text=True,
        )
    except FileNotFoundError:
        raise Unavailable("there is no program tc (of Debian's iproute2)") from None
    except subprocess.CalledProcessError as error:
        raise Unavailable(f"the kernel has no netem: {error.stderr.strip()}") from None
    return "127.0.0.1", "127.0.0.1"


def open_mirror() -> int:
    try:
        tunnel = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(tunnel, _TUNSETIFF, struct.pack("16sH22x", b"mirror", _IFF_TUN_NO_PI))
    except OSError as error:
        raise Unavailable(f"no tunnel device can be made: {error}") from None
    bring_up(b"mirror", here=HERE, peer=PEER)
    return tunnel


def reflect_until(tunnel: int, ended: int) -> None:
    """Be the other end of the tunnel until the descriptor `ended` is readable."""
    under_way: list[tuple[float, bytes]] = []
    poller = select.poll()
    for fd in (tunnel, ended):
        poller.register(fd, select.POLLIN)
    while True:
        now = time.monotonic()
        while under_way and under_way[0][0] <= now:
            os.write(tunnel, heapq.heappop(under_way)[1])
        wait = 1000 * (under_way[0][0] - now) if under_way else None
        ready = dict(poller.poll(wait))
        if ended in ready:
            return
        if tunnel in ready:
            for packet in packets(tunnel):
                if random.random() * 100 >= LOSS:
                    arrival = time.monotonic() + random.random() * MAX_DELAY
                    heapq.heappush(under_way, (arrival, packet))


def packets(tunnel: int) -> Iterator[bytes]:
    """Those of IPv4 that wait in the tunnel, with source and destination exchanged."""
    with contextlib.suppress(BlockingIOError):
        while True:
            packet = os.read(tunnel, 65536)
            if packet[0] >> 4 == 4:
                yield packet[:12] + packet[16:20] + packet[12:16] + packet[20:]


def run(link: str, scenario: Callable[[str, str], None]) -> int:
    """Run `scenario(bind_to, connect_to)` in a process on the link; return its exit status."""
    tunnel = -1
    if link == NETEM:
        here, peer = have_netem()
    else:
        tunnel, here, peer = open_mirror(), HERE, PEER
    pid = os.fork()
    if pid == 0:
        if tunnel >= 0:
            os.close(tunnel)
        scenario(here, peer)
        sys.exit()
    if tunnel >= 0:
        ended = os.pidfd_open(pid)
        reflect_until(tunnel, ended)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def main(link: str, mode: str, module: str, name: str, *arguments: str) -> int:
    def scenario(here: str, peer: str) -> None:
        if mode == "patched":
            from gevent import monkey

            monkey.patch_all()
        found: Any = getattr(importlib.import_module(module), name)
        found(here, peer, *arguments)

    try:
        return run(link, scenario)
    except Unavailable as error:
        print(error, file=sys.stderr)
        return UNAVAILABLE


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:]))
    except Exception:  # noqa: BLE001 - also of the scenario, whose process would else go on here
        traceback.print_exc()
        sys.exit(1)
