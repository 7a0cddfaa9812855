"""Whatever sizes a handler reads in, it sees the stream that was sent over TLS.

Apart from the tests that run in templates (`tests.separate_process`): hypothesis imports what is
installed beside it, trio say, which starts a process when it is imported.
"""

import itertools
import socket
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from greensock import BaseRequestHandler
from greensock.testing import running

from ..server_kinds import GREENLET, THREADING, make_server
from .certificates import TlsClient, server_context


class Pieces(BaseRequestHandler):
    """Reads what comes as it is told to, and sends back what it got, until the end."""

    def handle(self) -> None:
        request, how = self.request, self.server.how
        for size in itertools.cycle(how):
            buffer = bytearray(size)
            got = {
                "recv": lambda size=size: request.recv(size),
                "read": lambda size=size: request.read(size),
                "into": lambda buffer=buffer: bytes(buffer[: request.recv_into(buffer)]),
                "peek": lambda size=size: (
                    request.recv(size, socket.MSG_PEEK) and request.recv(size)
                ),
                "all": lambda size=size: request.recv(size, socket.MSG_WAITALL),
            }[self.server.method]()
            assert len(got) <= size
            if not got:
                break
            request.sendall(got)


@pytest.mark.parametrize("mixin", [GREENLET, THREADING])
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_reads_of_any_size_see_one_stream(serving: Any, mixin: str, data: Any) -> None:
    method = data.draw(st.sampled_from(["recv", "read", "into", "peek", "all"]))
    how = [*data.draw(st.lists(st.integers(1, 20_000), max_size=20)), 5000]
    sizes = data.draw(st.lists(st.integers(1, 40_000), max_size=4))
    sent = b"".join(bytes([number % 251]) * size for number, size in enumerate(sizes))
    server = make_server(mixin, Pieces, ssl_context=server_context(), method=method, how=how)
    with running(server) as address, TlsClient(address) as client:
        client.tls.sendall(sent)
        wanted = len(sent) if method != "all" else 0
        received = b""
        while len(received) < wanted:
            part = client.tls.recv(65536)
            assert part
            received += part
        assert received == sent[: len(received)]
