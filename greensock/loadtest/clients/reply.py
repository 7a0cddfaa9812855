"""One request of a socket client, timed."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Protocol

from locust.exception import CatchResponseError


class Requester(Protocol):
    """What a Reply asks of the client that makes the request."""

    received_size: int

    def begin_request(self, reply: Reply) -> None:
        """Connect if need be. Must not raise what the request's block is to see."""

    def end_request(self, reply: Reply, error: BaseException | None) -> bool:
        """Report the reply; True if the error is thereby dealt with."""


class Reply:
    """One request: a context manager that reports it to locust, and then what came of it.

    Attributes:
        data: the reply, as exchange received it; in a block of your own, what you put there.
        error: None, or the exception by which the request failed.
        response_time: ms, from the send (or the intended start) until the block's end.
        response_length: bytes received within the block.
        start_time: seconds since the epoch at which the time began to run.
    """

    __slots__ = (
        "_client",
        "_due",
        "_received_before",
        "_start",
        "data",
        "error",
        "name",
        "response_length",
        "response_time",
        "start_time",
    )

    def __init__(self, client: Requester, name: str, due: float | None) -> None:
        self._client = client
        self.name = name
        self._due = due
        self.data = b""
        self.error: BaseException | None = None
        self.response_time = 0.0
        self.response_length = 0
        self.start_time = self._start = 0.0
        self._received_before = 0

    @property
    def ok(self) -> bool:
        return self.error is None

    def failure(self, reason: str | Exception) -> None:
        """Report the request as failed though it was answered; the block goes on.

        Keep the text the same from request to request: locust makes a row of each distinct one.
        """
        self.error = CatchResponseError(reason) if isinstance(reason, str) else reason

    def __enter__(self) -> Reply:
        self._client.begin_request(self)
        self._received_before = self._client.received_size
        self.start_time = time.time()
        self._start = time.perf_counter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        now = time.perf_counter()
        started = self._start
        if self._due is not None:
            self.start_time -= started - self._due
            started = self._due
        self.response_length = self._client.received_size - self._received_before
        self.response_time = (now - started) * 1000
        return self._client.end_request(self, error)
