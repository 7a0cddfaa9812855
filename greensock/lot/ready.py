"""Who is ready: the epoll set that tells of them, and the queue in which they wait for a turn.

The hub watches the set by one watcher, whatever the number of clients: an idle one costs no watcher
of its own (150 bytes), and all who are found ready together are served in one go.

Each client is registered at its first parking and stays so for as long as its request is open; to
park it again takes no system call. The set tells of a client for as long as there is something to
read (edges would be lost between "read till empty" and "parked"). Who is at work while more comes
is muted, so that the hub does not spin, and armed again when it is parked. Where threads or
children have clients, each is told of once only, and armed at each parking.

Before its request is closed a client is taken out. The kernel does so by itself only once the
socket is open nowhere: not in a child, not as a duplicate.
"""

from __future__ import annotations

import select
from _socket import socket as c_socket
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from gevent import monkey

from greensock.hub.waiting import READ, new_watcher
from greensock.lot.client import PARKED, Client

#: What a set knows of a client: nothing; that it is to be told of; that it is not.
UNKNOWN, ARMED, MUTED = 0, 1, 2

_EVENTS = select.EPOLLIN | select.EPOLLRDHUP
# Nothing at all: of a reset the kernel tells unasked, with this only once.
_SILENT = select.EPOLLONESHOT

_number_of: Callable[[Any], int] = c_socket.fileno


class ReadySet:
    """The set of one lot. Taking out is done in any thread.

    Args:
        told_once: whether turns run in other threads or processes than the hub's.
    """

    def __init__(self, told_once: bool) -> None:
        self._told_once = told_once
        self._events = _EVENTS | select.EPOLLONESHOT if told_once else _EVENTS
        self._open()
        self._watcher: Any = None

    def _open(self) -> None:
        self._epoll = monkey.get_original("select", "epoll")()
        #: Returns descriptors that are ready, with their events; called with 0, not to wait.
        self.poll: Callable[[int], list[tuple[int, int]]] = self._epoll.poll

    def watch(self, look: Callable[[], object]) -> None:
        """Have `look` called in this thread's hub once somebody is ready, until `unwatch`."""
        self._watcher = new_watcher(self._epoll.fileno(), READ)
        self._watcher.start(look)

    def unwatch(self) -> None:
        """Nobody looks any more; what there is to be told of is kept."""
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.stop()
            watcher.close()

    def arm(self, client: Client) -> None:
        """Tell of a client."""
        number = _number_of(client.request)
        if client.watch == UNKNOWN:
            self._epoll.register(number, self._events)
        else:
            self._epoll.modify(number, self._events)
        client.watch = ARMED

    def mute(self, client: Client) -> None:
        """A client of whom it has just told is at work."""
        client.watch = MUTED
        if not self._told_once:
            self._epoll.modify(_number_of(client.request), _SILENT)

    def remove(self, client: Client) -> None:
        """Forget a client, whose request is about to be closed."""
        client.watch = UNKNOWN
        try:  # noqa: SIM105 - every client who was parked comes by, and `suppress` costs six calls
            self._epoll.unregister(_number_of(client.request))
        except (OSError, ValueError):
            # The program has closed it by other means.
            pass

    def drop(self, number: int, clients: Callable[[], Iterable[Client]]) -> None:
        """Of nobody's: closed by other means than its request's own, and open elsewhere.

        Args:
            clients: those who are in the set.
        """
        try:
            self._epoll.unregister(number)
        except OSError:
            # By that number the kernel knows it no more: it goes only with the set.
            self.renew(clients())

    def renew(self, clients: Iterable[Client]) -> None:
        """Make another set, of these clients and no others."""
        look = self._watcher.callback
        self.unwatch()
        self._epoll.close()
        self._open()
        for client in clients:
            if client.watch:
                client.watch = UNKNOWN
                if client.state is PARKED:
                    self.arm(client)
        self.watch(look)

    def close(self) -> None:
        """Let go of the set; in a child, of this process's descriptor of it."""
        self.unwatch()
        self._epoll.close()


class ReadyQueue(NamedTuple):
    """Where a lot puts the clients who are to have a turn.

    `clients`: the queue. `schedule`: called when one is put into it while it is empty. `dispatch`:
    the same, but called in the hub, and once no more are about to come. Neither may block or raise.
    """

    clients: deque[Any]
    schedule: Callable[[], None]
    dispatch: Callable[[], None]


def queue_of_nobody() -> ReadyQueue:
    """One whose clients are served by nobody."""
    return ReadyQueue(deque(), _stay, _stay)


def _stay() -> None:
    """Nobody is told."""
