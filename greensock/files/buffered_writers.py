"""The buffered wfile: what is written is gathered, and leaves the buffer once, in order."""

from __future__ import annotations

import errno
from typing import Any

from greensock.files.streams import SocketWriter
from greensock.hub.waiting import acquire, new_lock


class BufferedSocketWriter(SocketWriter):
    """A writable binary file on a request that gathers up to `size` bytes before it sends.

    As with `io.BufferedWriter`, a write that finds the buffer too full sends what was there first;
    closing flushes. If sending fails, what was not sent stays in the buffer, and no more: a later
    flush goes on where this one ended. Several greenlets or threads may write.
    """

    __slots__ = ("_chunks", "_held", "_lock", "_size")

    def __init__(self, sock: Any, size: int) -> None:
        super().__init__(sock)
        if size < 1:
            raise ValueError(f"the buffer's size must be a positive number of bytes, not {size}")
        self._size = size
        self._chunks: list[bytes] = []
        self._held = 0
        #: Held while the buffer is being sent.
        self._lock = new_lock()

    def write(self, data: Any, /) -> int:
        """Gather `data`, a bytes-like object, and send what there is no room for.

        Raises:
            BlockingIOError: a non-blocking request takes no more; its `characters_written` says how
                much of `data` was sent or gathered.
            OSError: sending has failed.
        """
        self._check_open()
        with memoryview(data) as view:
            chunk = view.tobytes()
        if self._held + len(chunk) > self._size:
            try:
                self.flush()
            except BlockingIOError:
                return self._gather_in_part(chunk)
        self._gather(chunk)
        if len(chunk) >= self._size:
            try:
                self.flush()
            except BlockingIOError:
                return self._give_back(len(chunk))
        return len(chunk)

    def _gather(self, chunk: bytes) -> None:
        if chunk:
            self._chunks.append(chunk)
            self._held += len(chunk)

    def _gather_in_part(self, chunk: bytes) -> int:
        """In an `except` clause: the client takes nothing more of what was there already."""
        room = self._size - self._held
        self._gather(chunk[: max(room, 0)])
        if len(chunk) <= room:
            return len(chunk)
        raise _would_block(max(room, 0))

    def _give_back(self, size: int) -> int:
        """In an `except` clause: of a last chunk of `size` bytes, what there is no room for."""
        excess = self._held - self._size
        if excess <= 0:
            return size
        self._chunks[-1] = self._chunks[-1][:-excess]
        self._held = self._size
        raise _would_block(size - excess)

    def flush(self) -> None:
        """Send what was gathered.

        Raises:
            OSError: sending has failed; what is left stays in the buffer.
        """
        sock = self._check_open()
        if not self._chunks and sock.unsent is None:
            return
        acquire(self._lock)
        try:
            self._send(sock)
            while self._chunks:
                self._send(sock)
        except BlockingIOError:
            raise _would_block(0) from None
        finally:
            self._lock.release()

    def _send(self, sock: Any) -> None:
        # The list stays the same one: others may add to it meanwhile.
        chunks = self._chunks
        taken = len(chunks)
        data = chunks[0] if taken == 1 else b"".join(chunks[:taken])
        sent = 0
        try:
            for size in sock.send_in_parts(data):
                sent += size
        finally:
            chunks[:taken] = [data[sent:]] if sent < len(data) else []
            self._held = sum(map(len, chunks))

    def close(self) -> None:
        """Flush, and close even if that fails."""
        if not self.closed:
            try:
                self.flush()
            finally:
                self._sock._decref_socketios()
                super().close()


def _would_block(written: int) -> BlockingIOError:
    return BlockingIOError(errno.EAGAIN, "write could not complete without blocking", written)
