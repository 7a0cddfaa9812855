"""The request handlers: the standard library's three, and one whose clients can be parked.

Which handlers can be parked ("request-wise" ones): those whose `handle()` is nothing but a loop
over `handle_one_request()` until `close_connection`, so that a server may run the loop itself, one
turn at a time. That is `KeepAliveRequestHandler`, and `http.server.BaseHTTPRequestHandler`; what
a server needs to know of either is in `handlers.traits`.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from io import BufferedReader, BytesIO
from typing import Any

from greensock.files import framing
from greensock.files.line_limits import reader_class
from greensock.files.streams import RequestWriter, SocketReader, SocketWriter
from greensock.handlers import hanging_up
from greensock.handlers.making import being_made, class_of, hand_over
from greensock.handlers.untaken import await_more
from greensock.sockets.requests import is_request_socket


class BaseRequestHandler:
    """Base class of request handlers: one instance serves one client.

    The constructor calls `setup()`, `handle()` and `finish()`, in this order; `finish()` runs also
    when `handle()` raises, not when `setup()` does.

    Methods that may be overridden: `setup()`, `handle()`, `finish()`; each does nothing here.

    Instance variables: `request` (the client's socket; for a datagram the pair of its bytes and the
    server's socket), `client_address`, `server`. More may be set at will.

    Class variables:

    - `parkable`: whether the server may call `handle_one_request()` in place of `handle()`, one
      turn at a time, and park the client in between. None (the default): it may, if `handle()` is
      known to be nothing but that loop, and of an `http.server` handler if `setup()` and
      `handle_one_request()` are the standard ones. True promises it for a `handle()` of one's own,
      which the server then never calls; that of an `http.server` handler it calls for each request
      by itself. It also promises that under ForkingMixIn each child may make the handler anew, with
      its constructor and `setup()`. False: never.
    - `defer_until_data`: if True, a client who has sent nothing yet is parked, without a handler,
      until its first byte (for protocols in which the client speaks first). None (the default):
      so for request-wise handlers whose `setup()` is the standard one, where nobody can tell.

    Resources: the server closes the request, after `finish()`.

    Differs from socketserver: where a server parks clients of a request-wise class, the
    constructor returns after `setup()`; the turns, and `finish()`, follow.
    """

    parkable: bool | None = None
    defer_until_data: bool | None = None

    def __init__(self, request: Any, client_address: Any, server: Any) -> None:
        self.request = request
        self.client_address = client_address
        self.server = server
        self.setup()
        if being_made and hand_over(self):
            return
        try:
            self.handle()
        finally:
            self.finish()

    def setup(self) -> None:
        pass

    def handle(self) -> None:
        pass

    def finish(self) -> None:
        pass


# What makes a handler and calls nothing of it but handle(), where a class has no other.
_PLAIN: dict[str, Any] = {
    "__new__": object.__new__,
    "__init__": BaseRequestHandler.__init__,
    "setup": BaseRequestHandler.setup,
    "finish": BaseRequestHandler.finish,
}


def check_class_settings(cls: type) -> None:
    """Check what a class says for itself, when it is made or an attribute of it has been set.

    Raises:
        ValueError: an attribute has a value that cannot be used.
    """
    if issubclass(cls, StreamRequestHandler) and "max_line_size" in vars(cls):
        reader_class(cls.max_line_size)


class StreamRequestHandler(BaseRequestHandler):
    """Handler of a stream, with the files `rfile` and `wfile` on it.

    Class variables:

    - `rbufsize`: -1 (the default) or more: `rfile` is buffered; 0: it is not, and never takes more
      from the socket than it was asked for.
    - `wbufsize`: 0 (the default): `wfile` sends what is written at once; more: it gathers that
      many bytes first (-1: the default size of `io`). `finish()` flushes.
    - `timeout`: seconds that one socket operation may take, and that a parked client may be
      silent, before TimeoutError; None (the default): no limit.
    - `disable_nagle_algorithm`: if True, set TCP_NODELAY; the servers here do that already.
    - `max_line_size`: the most bytes of a line that `rfile.readline()`, without a size of its own,
      returns; of a longer one it raises `LineTooLong`, which ends the client with one WARNING. None
      (the default): no limit. To be set on the class; an unbuffered `rfile` does not know it.

    Differs from socketserver: `rfile` and `wfile` hold buffers only while they hold bytes; they
    have the methods of `io.BufferedReader` and `io.BufferedWriter` but for `raw` and `detach`.
    """

    rbufsize = -1
    wbufsize = 0
    timeout: float | None = None
    disable_nagle_algorithm = False
    max_line_size: int | None = None

    rfile: Any
    wfile: Any

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        check_class_settings(cls)

    def setup(self) -> None:
        connection = self.connection = self.request
        if self.timeout is not None:
            connection.settimeout(self.timeout)
        if self.disable_nagle_algorithm:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        on_request = is_request_socket(connection)
        if on_request and self.rbufsize:
            size = self.max_line_size
            kind = SocketReader if size is None else reader_class(size)
            self.rfile = connection.new_reader(kind)
        else:
            self.rfile = connection.makefile("rb", self.rbufsize)
        if self.wbufsize == 0:
            self.wfile = (connection.writer_class if on_request else SocketWriter)(connection)
        else:
            self.wfile = connection.makefile("wb", self.wbufsize)

    def finish(self) -> None:
        wfile = self.wfile
        # Of one that sends at once, both are calls for nothing, and every client ends here.
        if type(wfile) is not RequestWriter and not wfile.closed:
            # The client may have gone; then there is nobody to flush to.
            try:  # noqa: SIM105 - every client ends here, and `suppress` costs three calls
                wfile.flush()
            except OSError:
                pass
        wfile.close()
        self.rfile.close()

    def hang_up(self) -> None:
        """End this handler's client: from any greenlet or thread, parked or busy.

        A parked client is closed soon, in a turn of its own that calls `finish()` (which may still
        write) and reads nothing; without a mixin that waits for the handler that runs. For a busy
        one the connection is over at once, but for what was written already: its handler's next
        read finds the end of the stream, its next write raises BrokenPipeError, and `finish()` is
        called as ever. Between two runs of `serve_forever` the client sees its end at once, and
        `finish()` is called in the next run, or by `server_close()`. For whoever has gone it does
        nothing, so that it may be called again and again. A turn that wants to end its own client
        after its answer sets `close_connection` instead.

        Under ForkingMixIn, where handlers are in children, each may hang up on its own client only.

        Raises:
            RuntimeError: in a child, for a client of another.
        """
        hanging_up.hang_up(self)


class DatagramRequestHandler(BaseRequestHandler):
    """Handler of one datagram: `rfile` reads it, and what is written to `wfile` is the answer.

    Instance variables: `packet` (the datagram's bytes), `socket` (the server's), `rfile`, `wfile`.
    """

    def setup(self) -> None:
        self.packet, self.socket = self.request
        self.rfile = BytesIO(self.packet)
        self.wfile = BytesIO()

    def finish(self) -> None:
        self.socket.sendto(self.wfile.getvalue(), self.client_address)


class KeepAliveRequestHandler(StreamRequestHandler):
    """Handler of a client who asks many times, and is parked in between.

    A subclass defines `handle_one_request()`: it reads one request and answers it. While its client
    is silent, the client costs an open socket and this object: no greenlet, no thread, no child,
    under any mixin. What is kept on `self` or in a ContextVar is there in the next turn. Under
    ForkingMixIn a turn runs in a child, which makes the handler anew, and what it changes stays
    there; unless it has a constructor or `setup()` of its own, which keep its child.

    Methods to override: `handle_one_request()`.

    Class variables:
    - `max_line_size` is 64 KiB here, as is asyncio's: a line without end would otherwise fill the
      memory.
    - `request_terminator`: the bytes that every request ends with, b"\\n" for lines; None (the
      default): not known. If it is known, a client stays parked until its request is whole, and one
      who sends half a line and no more, or a byte a second, costs no greenlet, thread or child
      either. A request begins without it at the stream's end, after `max_line_size` bytes or 64
      KiB, and when the server drains. Not over TLS; under ForkingMixIn, what a child has received
      stays with it, so that half a request right behind a whole one keeps its child.

    Instance variables: `close_connection`: set it to True to end after this request; that also
    happens when the client ends the stream.

    `handle_one_request()` is called only when at least one byte is there; it may read more than
    that, and blocks then like any handler: its greenlet, thread or child is taken for that long.
    If it takes nothing of what is there (it peeks, and the frame is not whole), it is called again
    once there is more; of more than 1 MiB that nobody takes, RuntimeError goes to `handle_error`.
    Other greenlets and threads may write to a parked client: only its reading is the lot's.

    A handler may put something else in the place of `rfile` and `connection`, TLS on top of them
    say. Then its client is parked no more: it keeps its greenlet, thread or child.
    """

    close_connection = False
    max_line_size: int | None = 65536
    request_terminator: bytes | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        framing.check_terminator(cls.request_terminator)

    def handle(self) -> None:
        """Handle requests one after the other until `close_connection` or the stream's end."""
        ask_on(self)

    def handle_one_request(self) -> None:
        """Read one request and answer it.

        Raises:
            NotImplementedError: a subclass did not define it.
        """
        raise NotImplementedError(f"{type(self).__qualname__} must define handle_one_request()")


def ask_on(handler: Any) -> None:
    """Have a handler's requests served until `close_connection` or the stream's end."""
    while not handler.close_connection and _is_more_to_come(handler):
        connection = handler.connection
        data, at = getattr(connection, "unread", b""), getattr(connection, "unread_at", 0)
        handler.handle_one_request()
        if handler.wbufsize:
            handler.wfile.flush()
        # Where it takes nothing of what is there, it is called again once there is more.
        is_untaken = data and (connection.unread, connection.unread_at) == (data, at)
        if is_untaken and not await_more(connection):
            break


def _is_more_to_come(handler: Any) -> bool:
    """Wait for the next byte; False at the end of the stream.

    True at once where only the handler knows: it reads by another way than its rfile.
    """
    rfile, connection = handler.rfile, handler.connection
    if getattr(rfile, "_sock", connection) is not connection:
        return True
    if hasattr(rfile, "peek"):
        return bool(rfile.peek(1))
    try:
        return bool(connection.recv(1, socket.MSG_PEEK))
    except ValueError:
        # An SSLSocket, put around the connection, does not look ahead, but a buffer of it does.
        handler.rfile = BufferedReader(rfile)
        return bool(handler.rfile.peek(1))


def name_of(handler_class: Any) -> str:
    """The qualified name of what makes the handlers of a server: the class's, if it is known."""
    cls = class_of(handler_class)
    name = getattr(cls, "__qualname__", None) or type(cls).__qualname__
    return str(name)


def quick_runner(handler_class: Any) -> Callable[[Any, Any, Any], object]:
    """What makes and runs a handler as calling its class does, for a request that cannot be parked.

    Of a class whose constructor calls nothing but an own `handle()`, it calls only that: the
    constructor, `setup()` and `finish()` would be a tenth of what a datagram costs.
    """
    is_plain = (
        type(handler_class) is type
        and issubclass(handler_class, BaseRequestHandler)
        and all(getattr(handler_class, name) is standard for name, standard in _PLAIN.items())
    )
    if not is_plain:
        return handler_class  # type: ignore[no-any-return]
    new: Callable[[Any], Any] = object.__new__

    def run(request: Any, client_address: Any, server: Any) -> None:
        handler = new(handler_class)
        handler.request = request
        handler.client_address = client_address
        handler.server = server
        handler.handle()

    return run
