"""Addresses in words."""

import socket

import pytest

from greensock.net.addresses import Address, describe, parse


@pytest.mark.parametrize(
    ("text", "address", "again"),
    [
        ("127.0.0.1:80", Address("tcp", "127.0.0.1", 80), "tcp://127.0.0.1:80"),
        ("tcp://[::1]:0", Address("tcp", "::1", 0), "tcp://[::1]:0"),
        ("udp://0.0.0.0:65535", Address("udp", "0.0.0.0", 65535), "udp://0.0.0.0:65535"),
        (":80", Address("tcp", "", 80), "tcp://:80"),
        ("unix:/a/b", Address("unix", "/a/b"), "unix:/a/b"),
        ("unix:///a/b", Address("unix", "/a/b"), "unix:/a/b"),
        ("unix:a", Address("unix", "a"), "unix:a"),
    ],
)
def test_address_is_read_and_said(text: str, address: Address, again: str) -> None:
    assert parse(text) == address
    assert str(address) == again


@pytest.mark.parametrize(
    "text",
    ["", "80", "host", "host:", "host:x", "host:65536", "::1:80", "http://x:80", "unix:", "a:-1"],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="address"):
        parse(text)


def test_bound_socket_is_described() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        address = describe(sock, "tcp")
        assert address.sockaddr == sock.getsockname()
        assert address.family == socket.AF_INET
