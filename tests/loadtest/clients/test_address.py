from __future__ import annotations

import pytest

from greensock.loadtest.clients.address import Address, parse_address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("tcp://127.0.0.1:9999", Address("tcp", "127.0.0.1", 9999)),
        ("TCP://localhost:1/", Address("tcp", "localhost", 1)),
        ("tls://[::1]:443", Address("tls", "::1", 443)),
        ("udp://example.org:53", Address("udp", "example.org", 53)),
        ("unix:/tmp/echo.sock", Address("unix", path="/tmp/echo.sock")),
        ("unix:///tmp/echo.sock", Address("unix", path="/tmp/echo.sock")),
        ("unix:echo.sock", Address("unix", path="echo.sock")),
        ("unix:@name", Address("unix", path="@name")),
        ("http://127.0.0.1:8000", Address("tcp", "127.0.0.1", 8000)),
        ("http://127.0.0.1/", Address("tcp", "127.0.0.1", 80)),
        ("http://[::1]", Address("tcp", "::1", 80)),
    ],
)
def test_address_is_read(text: str, address: Address) -> None:
    assert parse_address(text) == address
    assert parse_address(str(address)) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "127.0.0.1:9999",
        "tcp:127.0.0.1:9999",
        "tcp://127.0.0.1",
        "tcp://:9999",
        "tcp://::1:9999",
        "tcp://[a]b:9999",
        "tcp://a/b:9999",
        "unix:",
        "ftp://a:1",
        "https://a:1",
    ],
)
def test_other_forms_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"host must be tcp://HOST:PORT, .*, not '"):
        parse_address(text)


@pytest.mark.parametrize("port", ["0", "65536", "-1", "http", "", "\uff11"])
def test_port_must_be_one(port: str) -> None:
    with pytest.raises(ValueError, match="port of host must be between 1 and 65535, not"):
        parse_address(f"tcp://localhost:{port}")
