"""Clients of an echo server: opened many at a time, from several source addresses."""

import itertools
import select
import socket
import time
from dataclasses import dataclass, field

LINE_SIZE = 64  # bytes, the newline included
RECEIVE_SIZE = 4_096  # bytes; far more than one answer

# Linux; socket.IP_BIND_ADDRESS_NO_PORT is not in every Python we run on. With it, bind() sets the
# address only, and connect() picks a port that is free for this destination instead of one that is
# free for all.
_IP_BIND_ADDRESS_NO_PORT = 24

# One source address has 28,232 ports by default, and a port rests a second after its client closed
# first: with 16 addresses the ports are no bound below 450,000 connections a second.
_SOURCES = itertools.cycle([f"127.0.{i}.1" for i in range(1, 17)])

CONNECTING_AT_ONCE = 64  # below every contender's listen queue


@dataclass(slots=True)
class Client:
    """A connected socket, non-blocking, and the line that only this client sends."""

    socket: socket.SocketType
    line: bytes


@dataclass(slots=True)
class Opened:
    """What `open_clients` reached: the clients that were answered, and the number that were not."""

    clients: list[Client] = field(default_factory=list)
    failed: int = 0


def line_of(number: int) -> bytes:
    """A line of 64 bytes that no client with another number sends."""
    return b"%063d\n" % number


def new_stream() -> socket.SocketType:
    """A non-blocking TCP socket, bound to the next source address; the kernel picks the port."""
    # The C class: the Python class around it costs 2 us more for a connection's whole life.
    stream = socket.SocketType(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    stream.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
    stream.bind((next(_SOURCES), 0))
    return stream


def open_clients(address: tuple[str, int], count: int, deadline_seconds: float) -> Opened:
    """Connect clients, let each exchange one line, and keep them open.

    A client counts as open only once it was answered, so it is certain that the server has accepted
    it and has run its handler. Those that fail or are not answered before the deadline are closed
    and counted.
    """
    deadline = time.monotonic() + deadline_seconds
    opened = Opened()
    pending: dict[int, Client] = {}
    numbers = iter(range(count))
    with select.epoll() as poll:
        while True:
            for number in itertools.islice(numbers, CONNECTING_AT_ONCE - len(pending)):
                client = Client(new_stream(), line_of(number))
                client.socket.connect_ex(address)
                pending[client.socket.fileno()] = client
                poll.register(client.socket, select.EPOLLOUT)
            if not pending or time.monotonic() > deadline:
                break
            for fd, event in poll.poll(0.1):
                _advance(poll, pending, fd, event, opened)
    for client in pending.values():
        client.socket.close()
    opened.failed = count - len(opened.clients)
    return opened


def _advance(
    poll: select.epoll, pending: dict[int, Client], fd: int, event: int, opened: Opened
) -> None:
    client = pending[fd]
    try:
        if event & select.EPOLLIN:
            if client.socket.recv(RECEIVE_SIZE) == client.line:
                poll.unregister(fd)
                opened.clients.append(pending.pop(fd))
                return
        elif event == select.EPOLLOUT:
            client.socket.send(client.line)
            poll.modify(fd, select.EPOLLIN)
            return
    except OSError:
        pass
    pending.pop(fd).socket.close()


def open_silent_clients(address: tuple[str, int], count: int, deadline_seconds: float) -> Opened:
    """Connect clients that say nothing, but for one in each batch, which is answered.

    Connections are accepted in the order they are made, so its answer proves that the server has
    accepted the batch; and no batch overruns a listen queue.
    """
    deadline = time.monotonic() + deadline_seconds
    opened = Opened()
    while len(opened.clients) < count and time.monotonic() < deadline:
        silent = min(CONNECTING_AT_ONCE, count - len(opened.clients)) - 1
        for number in range(silent):
            client = Client(new_stream(), line_of(number))
            client.socket.connect_ex(address)
            opened.clients.append(client)
        last = open_clients(address, 1, deadline - time.monotonic())
        if last.failed:
            break
        opened.clients += last.clients
    opened.failed = count - len(opened.clients)
    return opened


def open_datagram_clients(address: tuple[str, int], count: int) -> list[Client]:
    """Connected UDP sockets; nothing is sent yet."""
    clients = []
    for number in range(count):
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        client.connect(address)
        clients.append(Client(client, line_of(number)))
    return clients


def close_clients(clients: list[Client]) -> None:
    """Close all of them and forget them."""
    while clients:
        clients.pop().socket.close()


def count_lost(clients: list[Client]) -> int:
    """How many of the silent clients the server has closed meanwhile, or sent something to."""
    poll = select.poll()
    for client in clients:
        poll.register(client.socket, select.POLLIN)
    return len(poll.poll(0))
