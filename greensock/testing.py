"""Helpers for the tests of programs that are built on greensock, and for greensock's own."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any, Protocol

__all__ = ["running"]


class _Server(Protocol):
    """What `running` needs of a server; those of `socketserver` have it as well."""

    @property
    def server_address(self) -> Any: ...

    def serve_forever(self, poll_interval: float = 0.5) -> None: ...

    def shutdown(self) -> None: ...

    def server_close(self) -> None: ...


@contextlib.contextmanager
def running(server: _Server, poll_interval: float = 0.5) -> Iterator[Any]:
    """Serve in a background thread for as long as the `with` block runs.

        with running(ThreadingTCPServer(("127.0.0.1", 0), Upper)) as address:
            with socket.create_connection(address) as client:
                ...

    The server must be bound already, as it is unless it was made with `bind_and_activate=False`:
    its socket then queues clients, so that the block can connect at once.

    When the block ends, in whatever way, the server is shut down, its thread joined and the
    server closed, in this order. A server that never returns from `serve_forever` (its handler
    blocks the thread) makes the end of the block wait as long as that.

    Args:
        server: any server of greensock's or of socketserver's. It belongs to the block: it is
            closed at its end. The block itself may shut it down or close it earlier.
        poll_interval: seconds, handed on to `serve_forever`.

    Yields:
        The server's address: what clients connect to. With port 0 it holds the port that the
        system chose.

    Raises:
        Exception: whatever ended `serve_forever`, at the end of the block. It comes in place of
            the block's own exception, which is usually but its consequence, and which it keeps
            as its `__context__`.

    The thread is what `threading.Thread` makes: a native one, and in a process that gevent has
    patched, a greenlet.
    """
    failures: list[BaseException] = []

    def serve() -> None:
        try:
            server.serve_forever(poll_interval)
        except BaseException as failure:  # noqa: BLE001
            # Not only Exception: a SystemExit that a handler let out has to be seen as well.
            failures.append(failure)

    thread = threading.Thread(target=serve, name=f"running {type(server).__name__}")
    try:
        thread.start()
        try:
            yield server.server_address
        finally:
            server.shutdown()
            thread.join()
    finally:
        server.server_close()
        if failures:
            raise failures[0]
