"""Listening sockets: making them, accepting from them, and what an error of accept means."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
from _socket import MSG_DONTWAIT
from collections.abc import Callable, Iterator
from enum import Enum, auto
from typing import Any

from gevent import monkey

from greensock.hub.workers import children
from greensock.sockets.requests import OriginalSocket, c_socket


class AcceptError(Enum):
    """What the accept loop does about an OSError.

    Survey: CPython's socketserver goes on at once whatever it was (with no descriptor left it
    calls accept 308,773 times a second); gevent, trio and Go tell them apart as here.
    """

    NOTHING_WAITS = auto()
    #: This client is gone, or a network error that Linux reports through accept: take the next.
    CLIENT_LOST = auto()
    #: Out of descriptors or memory: nothing can be accepted until something is closed.
    EXHAUSTED = auto()
    #: The listener is closed or never was one: there is nothing to watch any more.
    LISTENER_LOST = auto()


# Reads of 64 KiB: whoever has sent more than a megabyte does not listen anyway.
_MAX_DISCARDED = 16

# One string for all the clients of a host (a balancer, say, or a NAT): 64 bytes each. Not interned:
# each host that comes and goes would leave a dead entry in the interpreter's table, which grows
# then, once, by 560 KiB. Arbitrary: at most 64 KiB for hosts that are not coming back.
_MAX_HOSTS = 1_024
_hosts: dict[str, str] = {}

_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_LISTENER_LOST = {errno.EBADF, errno.ENOTSOCK, errno.EINVAL, errno.EOPNOTSUPP}


def classify(error: OSError) -> AcceptError:
    """What `error`, raised by get_request, asks the accept loop to do."""
    if isinstance(error, BlockingIOError):
        return AcceptError.NOTHING_WAITS
    if error.errno in _EXHAUSTED:
        return AcceptError.EXHAUSTED
    if error.errno in _LISTENER_LOST:
        return AcceptError.LISTENER_LOST
    return AcceptError.CLIENT_LOST


class ListeningSocket(OriginalSocket):
    """A server's own socket in an unpatched process: its accept() gives the server's requests.

    A subclass that overrides get_request with its own `self.socket.accept()` so gets sockets that
    suit the mixin: cooperative ones for greenlets, blocking ones for threads and children.
    """

    __slots__ = ("request_class",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        OriginalSocket.__init__(self, *args, **kwargs)
        self.request_class: Callable[..., OriginalSocket] = OriginalSocket

    def accept(self) -> tuple[Any, Any]:
        return accept_request(self, self.request_class)


def new_server_socket(family: int, kind: int) -> Any:
    """A socket for a server to bind: gevent's in a patched process, else a ListeningSocket."""
    if monkey.is_module_patched("socket"):
        return socket.socket(family, kind)
    return ListeningSocket(family, kind)


def native(sock: Any) -> Any:
    """The C-level socket object of a standard or a gevent socket."""
    return getattr(sock, "_sock", sock)


def abandon(sockets: list[Any]) -> Iterator[int]:
    """Take the descriptors out of sockets, telling nobody; -1 where there was none. For children.

    What is no socket is left alone: a datagram, or what a program has made of one.
    """
    for each in sockets:
        sock = native(each)
        if issubclass(type(sock), c_socket):
            yield c_socket.detach(sock)


def is_ssl_socket(sock: Any) -> bool:
    """Whether `sock` is an SSLSocket of the standard library's or of gevent's.

    By name: `ssl` must not be imported before the program patches itself, if it ever does.
    """
    return any(
        cls.__name__ == "SSLSocket" and cls.__module__ in ("ssl", "gevent.ssl")
        for cls in type(sock).__mro__
    )


def is_new_session(request: Any) -> bool:
    """Whether `request` is an SSLSocket that has made no handshake yet.

    Such a one comes from a get_request of the program's that accepts from a wrapped listener.
    """
    return is_ssl_socket(request) and request.version() is None


def accept_request(listener: Any, request_class: Callable[..., OriginalSocket]) -> tuple[Any, Any]:
    """Accept one client of `listener`; return its socket, a `request_class`, and its address.

    The accept() of a TLS listener would make the handshake; it is not called.

    Raises:
        OSError: as accept; BlockingIOError if the listener does not block and nobody waits.
    """
    raw = listener
    if type(listener) is not ListeningSocket:
        if not is_plain(listener) and not is_ssl_socket(listener):
            # Its accept() may do more than to accept.
            request, address = listener.accept()
            return adopt(request, request_class), address
        raw = native(listener)
    fd, address = raw._accept()
    # The C getters: the class's `family` and `type` make an enum member a call, 1 us each.
    request = request_class(_family(raw), _kind(raw), raw.proto, fileno=fd)
    if len(address) == 2 and type(address) is tuple:
        host = address[0]
        known = _hosts.get(host)
        if known is None:
            if len(_hosts) >= _MAX_HOSTS:
                _hosts.clear()
            known = _hosts[host] = host
        address = (known, address[1])
    return request, address


def is_readable(fd: int) -> bool:
    """Whether somebody waits at a listener, or a datagram at a socket."""
    poller = monkey.get_original("select", "poll")()
    poller.register(fd, select.POLLIN)
    return any(events & select.POLLIN for _, events in poller.poll(0))


def discard_unread(request: Any) -> None:
    """Throw away what a client has sent, before it is closed.

    Bytes that nobody has read make the kernel reset the connection, and with it go the last words
    that were written to the client and have not reached it yet.
    """
    with contextlib.suppress(OSError, AttributeError):
        for _ in range(_MAX_DISCARDED):
            if len(c_socket.recv(native(request), 65536, MSG_DONTWAIT)) < 65536:
                break


_family: Callable[[Any], int] = c_socket.__dict__["family"].__get__
_kind: Callable[[Any], int] = c_socket.__dict__["type"].__get__


def is_plain(request: Any) -> bool:
    """Whether `request` is the standard library's socket or gevent's, and no subclass."""
    return type(request) is OriginalSocket or type(request) is socket.socket


def adopt(request: Any, request_class: Callable[..., OriginalSocket]) -> Any:
    """`request` itself, or a `request_class` in its place if it is a plain socket.

    A plain one, from an overridden get_request, would block the hub in its handler, or be bound to
    the server's hub where handlers have threads of their own.
    """
    if type(request) is request_class or not (is_plain(request) or is_new_session(request)):
        return request
    timeout = request.gettimeout()
    adopted = request_class(fileno=request.detach())
    os.set_blocking(adopted.fileno(), True)
    if timeout is not None:
        adopted.settimeout(timeout)
    return adopted


# How many times the program has forked, in this process and those before it.
_forks = 0


def forks_until_now() -> int:
    """What is another number once another process may serve with the listeners of today."""
    return _forks


def _note_fork() -> None:
    global _forks
    if not children.is_forking():
        _forks += 1


os.register_at_fork(after_in_parent=_note_fork, after_in_child=_note_fork)


@contextlib.contextmanager
def non_blocking(sock: Any, forks: int) -> Iterator[None]:
    """Put the descriptor of `sock` in non-blocking mode for a while, whatever its timeout says.

    A client who is gone, or whom another process took, leaves a readable listener with nobody to
    accept: there a blocking accept would stop the hub. The mode is shared with every process that
    has the socket, so it is put back at the end, unless the program has forked since it had the
    socket: then another of its processes may serve. Children do not touch it.

    Args:
        forks: what `forks_until_now` said when the program had the socket.
    """
    try:
        fd = sock.fileno()
        was_blocking = os.get_blocking(fd)
        os.set_blocking(fd, False)
    except (AttributeError, OSError, ValueError):
        yield
        return
    try:
        yield
    finally:
        if was_blocking and forks == _forks:
            with contextlib.suppress(OSError):
                if sock.fileno() == fd:
                    os.set_blocking(fd, True)
