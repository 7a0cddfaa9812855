"""Who is turned away before its handshake keeps nobody waiting, whatever it is told."""

import socket
from typing import Any

import pytest

from greensock.testing import running

from ..clients import clients, eventually
from ..separate_process import HERE, PATCHED
from ..server_kinds import Echo, make_server, under_every_mixin
from .certificates import NAME, client_context, server_context

pytest_plugins = ["tests.alone"]


def reject_request(self: Any, request: Any, client_address: Any) -> None:
    request.sendall(b"busy\n")


def connect_tls(address: Any) -> Any:
    return client_context().wrap_socket(socket.create_connection(address, 30), server_hostname=NAME)


def turn_away(mixin: str, per_ip: bool) -> None:
    limits = {"max_connections_per_ip": 1} if per_ip else {"max_connections": 1}
    server = make_server(
        mixin,
        Echo,
        ssl_context=server_context(),
        overflow="reject",
        reject_request=reject_request,
        handshake_timeout=None,
        **limits,
    )
    with running(server) as address, connect_tls(address) as first:
        first.sendall(b"x\n")
        assert first.recv(2) == b"x\n"
        # They never say anything.
        with clients(address, 3):
            eventually(lambda: server.stats().rejected == 3)
            with connect_tls(address) as late:
                assert late.recv(5) == b"busy\n"
            first.sendall(b"y\n")
            assert first.recv(2) == b"y\n"


@pytest.mark.parametrize("mode", [HERE, PATCHED])
@pytest.mark.parametrize("per_ip", [False, True])
@under_every_mixin
def test_silent_client_who_is_turned_away_keeps_nobody(
    alone, mode: str, per_ip: bool, mixin: str
) -> None:
    alone(mode, turn_away, mixin, per_ip)


def test_plain_client_who_never_reads_keeps_nobody() -> None:
    def write_much(self: Any, request: Any, client_address: Any) -> None:
        request.sendall(b"x" * 20_000_000)

    for mixin in ("none", "greenlet", "threading", "forking"):
        server = make_server(
            mixin,
            Echo,
            max_connections=1,
            overflow="reject",
            reject_request=write_much,
            handle_error=lambda *arguments: None,
        )
        with running(server) as address, clients(address, 1) as (first,):
            first.sendall(b"x\n")
            assert first.recv(2) == b"x\n"
            with clients(address, 3):
                eventually(lambda server=server: server.stats().rejected == 3)
                first.sendall(b"y\n")
                assert first.recv(2) == b"y\n"
