"""rfile and wfile beside io's own: the same bytes, the same calls, the same answers."""

import contextlib
import io
import itertools
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from greensock.files import streams
from greensock.files.buffered_writers import BufferedSocketWriter
from greensock.sockets.requests import RequestSocket

from ..separate_process import STUCK

# Few different bytes, so that lines of all lengths come up.
data = st.binary(max_size=300).map(lambda raw: bytes(b"ab\n\r"[byte % 4] for byte in raw))
sizes = st.integers(min_value=-1, max_value=40)


class Chunks:
    """What SocketReader reads from: a stream cut into pieces, one for each read.

    An empty piece is a read at which nothing had come yet.
    """

    read_size = streams.FIRST_READ_SIZE

    def __init__(self, chunks: list[bytes]) -> None:
        self.chunks = list(chunks)
        self.unread = b""
        self.unread_at = 0
        self.decreased = 0

    def receive(self, size: int) -> bytes:
        if not self.chunks:
            return b""
        chunk = self.chunks.pop(0)
        if not chunk:
            raise BlockingIOError
        if len(chunk) > size:
            self.chunks.insert(0, chunk[size:])
        return chunk[:size]

    def fileno(self) -> int:
        return 99

    def _decref_socketios(self) -> None:
        self.decreased += 1


class RawChunks(io.RawIOBase):
    """The same for io.BufferedReader; once closed it refuses, as socket.SocketIO does."""

    def __init__(self, chunks: list[bytes]) -> None:
        self.source = Chunks(chunks)

    def readable(self) -> bool:
        return not self.seekable()

    def seekable(self) -> bool:
        if self.closed:
            raise ValueError("I/O operation on closed file")
        return False

    def readinto(self, buffer: Any) -> int | None:
        try:
            received = self.source.receive(len(buffer))
        except BlockingIOError:
            return None
        buffer[: len(received)] = received
        return len(received)


def cut(whole: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({0, len(whole), *(place % (len(whole) + 1) for place in places)})
    return [whole[a:b] for a, b in itertools.pairwise(edges)]


def readinto(name: str) -> Callable[[Any, int], Any]:
    def call(file: Any, size: int) -> Any:
        buffer = bytearray(abs(size))
        count = getattr(file, name)(buffer)
        return count, bytes(buffer)

    return call


READS: dict[str, Callable[[Any, int], Any]] = {
    "read": lambda file, size: file.read(size),
    "read all": lambda file, size: file.read(),
    "read None": lambda file, size: file.read(None),
    "read1": lambda file, size: file.read1(size),
    "read1 all": lambda file, size: file.read1(),
    "peek": lambda file, size: file.peek(abs(size)),
    "readline": lambda file, size: file.readline(),
    "readline size": lambda file, size: file.readline(size),
    "readline None": lambda file, size: file.readline(None),
    "readlines": lambda file, size: file.readlines(abs(size)),
    "next": lambda file, size: next(file, b"the end"),
    "readinto": readinto("readinto"),
    "readinto1": readinto("readinto1"),
    "too negative": lambda file, size: file.read(-2),
    "write": lambda file, size: file.write(b"x"),
    "seek": lambda file, size: file.seek(0),
    "tell": lambda file, size: file.readable() and file.seekable(),
    "facts": lambda file, size: (file.readable(), file.writable(), file.isatty(), file.closed),
    "close": lambda file, size: file.close() if size == 7 else None,
}


def outcome(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except ValueError as error:
        # UnsupportedOperation is a ValueError too; which it is, matters.
        return "error", isinstance(error, io.UnsupportedOperation)
    except OSError as error:
        return "error", isinstance(error, io.UnsupportedOperation)


def both_refuse(file: Any, found: Any, expected: Any) -> bool:
    """Whether both fail on a closed file, which could not have done it anyway."""
    return file.closed and found in ERRORS and expected in ERRORS


ERRORS = [("error", True), ("error", False)]


@settings(deadline=None, max_examples=400)
@given(
    whole=data,
    places=st.lists(st.integers(0, 300), max_size=8),
    calls=st.lists(st.tuples(st.sampled_from(sorted(READS)), sizes), max_size=12),
    pauses=st.just([]) | st.lists(st.integers(0, 8), max_size=4),
)
def test_reader_answers_as_a_buffered_reader(
    whole: bytes, places: list[int], calls: list[tuple[str, int]], pauses: list[int]
) -> None:
    """Where there are pauses, as one of a non-blocking socket."""
    chunks = cut(whole, places)
    for place in pauses:
        chunks.insert(place, b"")
    ours = streams.SocketReader(Chunks(chunks))
    theirs = io.BufferedReader(RawChunks(chunks))
    for name, size in calls:
        expected = outcome(lambda name=name, size=size: READS[name](theirs, size))
        found = outcome(lambda name=name, size=size: READS[name](ours, size))
        assert found == expected or both_refuse(theirs, found, expected), name
    assert outcome(ours.read) == outcome(theirs.read)


@settings(deadline=None, max_examples=200)
@given(
    whole=data,
    places=st.lists(st.integers(0, 300), max_size=8),
    calls=st.lists(
        st.tuples(st.sampled_from(["read", "readline", "readline size", "next"]), sizes),
        max_size=8,
    ),
)
def test_text_reads_the_same_on_top(
    whole: bytes, places: list[int], calls: list[tuple[str, int]]
) -> None:
    chunks = cut(whole, places)
    ours = io.TextIOWrapper(streams.SocketReader(Chunks(chunks)), "ascii")
    theirs = io.TextIOWrapper(io.BufferedReader(RawChunks(chunks)), "ascii")
    for name, size in calls:
        expected = outcome(lambda name=name, size=size: READS[name](theirs, size))
        assert outcome(lambda name=name, size=size: READS[name](ours, size)) == expected
    assert ours.read() == theirs.read()


class Sink:
    """What the writers write to; it may have `room` for so many bytes, and then fail once."""

    unsent = None

    def __init__(self) -> None:
        self.sent = bytearray()
        self.room: int | None = None
        self.failure: OSError = BrokenPipeError()

    def sendall(self, some: Any) -> None:
        for _ in self.send_in_parts(some):
            pass

    def send_in_parts(self, some: Any) -> Iterator[int]:
        sent = 0
        while sent < len(some):
            # At most three at a time, as a slow client would.
            part = some[sent : sent + 3]
            if self.room is not None:
                part = part[: self.room]
                self.room -= len(part)
                if not part:
                    self.room = None
                    raise self.failure
            self.sent += part
            sent += len(part)
            yield len(part)

    def fileno(self) -> int:
        return 99

    def _decref_socketios(self) -> None:
        pass


class RawSink(io.RawIOBase):
    def __init__(self) -> None:
        self.sent = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, some: Any) -> int:
        self.sent += some
        return len(some)


WRITES: dict[str, Callable[[Any, bytes], Any]] = {
    "write": lambda file, some: file.write(some),
    "write view": lambda file, some: file.write(memoryview(some)),
    "write array": lambda file, some: file.write(bytearray(some)),
    "writelines": lambda file, some: file.writelines([some, some]),
    "flush": lambda file, some: file.flush(),
    "read": lambda file, some: file.read(1),
    "seek": lambda file, some: file.seek(0),
    "facts": lambda file, some: (file.readable(), file.writable(), file.isatty(), file.closed),
    "close": lambda file, some: file.close() if some == b"ab" else None,
}


@settings(deadline=None, max_examples=300)
@given(
    size=st.integers(1, 50),
    calls=st.lists(st.tuples(st.sampled_from(sorted(WRITES)), data), max_size=12),
)
def test_buffered_writer_answers_as_ios_and_sends_the_same(
    size: int, calls: list[tuple[str, bytes]]
) -> None:
    sink, raw = Sink(), RawSink()
    ours = BufferedSocketWriter(sink, size)
    theirs = io.BufferedWriter(raw, size)
    for name, some in calls:
        expected = outcome(lambda name=name, some=some: WRITES[name](theirs, some))
        found = outcome(lambda name=name, some=some: WRITES[name](ours, some))
        assert found == expected or both_refuse(theirs, found, expected), name
        if name in ("flush", "close"):
            assert ours.closed is theirs.closed
        if name == "flush":
            assert sink.sent == raw.sent
    outcome(ours.close)
    outcome(theirs.close)
    assert sink.sent == raw.sent


@given(pieces=st.lists(data, max_size=6))
def test_plain_writer_keeps_nothing(pieces: list[bytes]) -> None:
    sink = Sink()
    writer = streams.SocketWriter(sink)
    sent = b""
    for piece in pieces:
        assert writer.write(piece) == len(piece)
        sent += piece
        assert sink.sent == sent


numbered = bytes(range(256))


@pytest.mark.parametrize("kind", [BrokenPipeError, TimeoutError])
@given(before=st.integers(0, 40), room=st.integers(0, 60), last=st.integers(0, 60))
def test_what_a_failed_flush_did_not_send_stays_and_no_more(
    kind: type[OSError], before: int, room: int, last: int
) -> None:
    sink = Sink()
    writer = BufferedSocketWriter(sink, 50)
    writer.write(numbered[:before])
    sink.room, sink.failure = room, kind()
    try:
        writer.flush()
    except kind:
        assert sink.sent == numbered[:room]
    sink.room = None
    writer.write(numbered[before : before + last])
    writer.flush()
    assert sink.sent == numbered[: before + last]


@settings(deadline=None, max_examples=300)
@given(
    size=st.integers(1, 30),
    writes=st.lists(st.tuples(st.integers(0, 60), st.none() | st.integers(0, 40)), max_size=8),
)
def test_nonblocking_writer_says_how_much_it_has_taken(
    size: int, writes: list[tuple[int, int | None]]
) -> None:
    """As io.BufferedWriter: `characters_written`, and never more than fits into the buffer."""
    sink = Sink()
    sink.failure = BlockingIOError()
    writer = BufferedSocketWriter(sink, size)
    taken = b""
    for length, room in writes:
        sink.room = room
        some = bytes((len(taken) + place) % 251 for place in range(length))
        try:
            accepted = writer.write(some)
            assert accepted == length
        except BlockingIOError as error:
            accepted = error.characters_written
        taken += some[:accepted]
        assert len(taken) - len(sink.sent) <= size
        with contextlib.suppress(BlockingIOError):
            if length % 3 == 0:
                writer.flush()
    sink.room = None
    writer.flush()
    assert sink.sent == taken


def test_bytes_before_a_timeout_are_kept_for_the_next_read() -> None:
    ours, other = socket.socketpair()
    with RequestSocket(fileno=ours.detach()) as request, other:
        rfile = request.makefile("rb")
        request.settimeout(0.01)
        for read in (rfile.readline, rfile.read, lambda: rfile.read(10)):
            other.sendall(b"ab")
            with pytest.raises(TimeoutError):
                read()
        other.sendall(b"\n")
        request.settimeout(STUCK)
        assert rfile.readline() == b"ababab\n"
        rfile.close()


def test_reader_and_request_are_one_stream() -> None:
    ours, other = socket.socketpair()
    with RequestSocket(fileno=ours.detach()) as request, other:
        rfile = request.makefile("rb")
        other.sendall(b"line\nabcdefghijklmnop")
        assert rfile.readline() == b"line\n"
        assert request.recv(2, socket.MSG_PEEK) == b"ab"
        assert request.recv(2) == b"ab"
        buffer = bytearray(2)
        assert request.recv_into(buffer) == 2
        assert buffer == b"cd"
        assert request.recvfrom(2)[0] == b"ef"
        assert request.recvmsg(2)[0] == b"gh"
        assert rfile.read(2) == b"ij"
        assert rfile.peek()[:2] == b"kl"
        with request.makefile("rb") as second:
            assert second.read(2) == b"kl"
        other.sendall(b"!")
        assert request.recv(5, socket.MSG_WAITALL) == b"mnop!"
        rfile.close()


def test_closed_request_stays_open_for_its_files() -> None:
    ours, other = socket.socketpair()
    request = RequestSocket(fileno=ours.detach())
    with other:
        rfile = request.makefile("rb")
        request.close()
        other.sendall(b"x\n")
        assert rfile.readline() == b"x\n"
        rfile.close()
        assert other.recv(1) == b""


def test_text_file_of_a_request_reads_and_writes() -> None:
    ours, other = socket.socketpair()
    with RequestSocket(fileno=ours.detach()) as request, other:
        with request.makefile("r", encoding="utf-8") as reader:
            other.sendall("grün\n".encode())
            assert reader.readline() == "grün\n"
        with request.makefile("w", encoding="utf-8") as writer:
            writer.write("grün\n")
            writer.flush()
            assert other.recv(100) == "grün\n".encode()


def test_iteration_ends_with_the_stream() -> None:
    ours, other = socket.socketpair()
    with RequestSocket(fileno=ours.detach()) as request, other:
        other.sendall(b"1\n2\nno newline")
        other.shutdown(socket.SHUT_WR)
        with request.makefile("rb") as rfile:
            assert list(rfile) == [b"1\n", b"2\n", b"no newline"]


def test_reader_that_was_never_made_goes_without_a_word() -> None:
    """A signal's handler may raise before it is on a socket; what a finaliser raises is printed."""
    reader = streams.SocketReader.__new__(streams.SocketReader)
    reader.__del__()
