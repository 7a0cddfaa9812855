"""Bounds on clients: what becomes of one too many, and that the bounds are exact."""

import contextlib
import socket
import threading
from typing import Any

import pytest

import greensock
from greensock import TCPServer
from greensock.testing import running

from ..clients import (
    answer_of,
    ask,
    clients,
    connect,
    eventually,
    receive_all,
    receive_line,
    wait_until_parked,
)
from ..separate_process import HERE
from ..server_kinds import (
    ANY_PORT,
    FORKING,
    GREENLET,
    HANDLERS,
    MIXINS,
    NONE,
    THREADING,
    Echo,
    Holding,
    in_each_process,
    make_server,
    patched_or_not,
    server_class,
    under_every_mixin,
)

pytest_plugins = ["tests.alone"]


WHOLE_NUMBER = "must be a positive integer or None, not"
SECONDS = "must be a positive number of seconds or None, not"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("max_connections", -1, f"max_connections {WHOLE_NUMBER} -1"),
        ("max_connections", True, f"max_connections {WHOLE_NUMBER} True"),
        ("max_connections_per_ip", 0, f"max_connections_per_ip {WHOLE_NUMBER} 0"),
        ("max_greenlets", 0, f"max_greenlets {WHOLE_NUMBER} 0"),
        ("max_threads", "4", f"max_threads {WHOLE_NUMBER} '4'"),
        ("max_children", 1.5, f"max_children {WHOLE_NUMBER} 1.5"),
        ("idle_timeout", 0, f"idle_timeout {SECONDS} 0"),
        ("write_timeout", float("nan"), f"write_timeout {SECONDS} nan"),
        ("overflow", "drop", "overflow must be 'pause', 'reject' or 'evict', not 'drop'"),
        ("tcp_keepalive", (60, 10), "tcp_keepalive must be None or three integers"),
        ("ip_prefix", (33, 64), "ip_prefix must be two prefix lengths"),
        ("trusted_ips", "10.0.0.0/8", "trusted_ips must be a sequence"),
        ("trusted_ips", ["nobody"], "trusted_ips must be a sequence"),
    ],
)
def test_setting_that_cannot_be_used_is_refused_at_once(
    name: str, value: Any, message: str
) -> None:
    kind: Any = type("Wrong", (greensock.GreenletTCPServer,), {name: value})
    with pytest.raises(ValueError, match=message.replace("(", "\\(")):
        kind(ANY_PORT, Echo)
    with greensock.GreenletTCPServer(ANY_PORT, Echo) as server:
        before = getattr(server, name, None)
        with pytest.raises(ValueError, match=message.replace("(", "\\(")):
            setattr(server, name, value)
        assert getattr(server, name, None) == before


def test_a_server_refused_for_a_setting_leaves_no_socket() -> None:
    class Wrong(TCPServer):
        max_connections = -1

    for _ in range(3):
        with pytest.raises(ValueError, match="max_connections"):
            Wrong(ANY_PORT, Echo)


class Counted:
    """In front of a server class: the most clients that were ever open at once."""

    most = 0

    def verify_request(self, request: Any, client_address: Any) -> bool:
        # The client asked about is let in, and not counted yet.
        self.most = max(self.most, self.stats().open + 1)  # type: ignore[attr-defined]
        return True


def counted_server(mixin: str, handler: Any, **attributes: Any) -> Any:
    names = {"linger": 0.001, **attributes}
    return type("Counted", (Counted, server_class(mixin)), names)(ANY_PORT, handler)


def is_silent(client: socket.socket) -> bool:
    client.settimeout(0.05)
    try:
        client.recv(1, socket.MSG_PEEK)
    except TimeoutError:
        return True
    finally:
        client.settimeout(20)
    return False


def wait_at_bound(mixin: str, handler: str) -> None:
    server = counted_server(mixin, HANDLERS[handler], max_connections=3)
    with running(server) as address, clients(address, 3) as each, connect(address) as fourth:
        for client in each:
            assert ask(client, b"x\n") == b"x\n"
        fourth.sendall(b"at last\n")
        assert is_silent(fourth)
        assert server.stats().open == 3
        each[1].close()
        assert receive_line(fourth) == b"at last\n"
        assert ask(each[0], b"y\n") == b"y\n"
    assert server.most == 3
    assert server.stats().accepted == 4


@in_each_process
@pytest.mark.parametrize(
    ("mixin", "handler"),
    [
        *((mixin, "Echo") for mixin in MIXINS),
        *((mixin, "ClassicEcho") for mixin in (GREENLET, THREADING, FORKING)),
    ],
)
def test_one_too_many_waits_for_room(alone, mode: str, mixin: str, handler: str) -> None:
    alone(mode, wait_at_bound, mixin, handler)


def crowd(mixin: str) -> None:
    """Many threads connect, ask and leave at once; the bound holds at each moment."""
    server = counted_server(mixin, Echo, max_connections=5)
    answers: list[bytes] = []

    def be_client(address: Any) -> None:
        for number in range(5):
            line = b"%d\n" % number
            answers.append(answer_of(address, line) == line)  # type: ignore[arg-type]

    with running(server) as address:
        crowd = [threading.Thread(target=be_client, args=(address,)) for _ in range(20)]
        for each in crowd:
            each.start()
        for each in crowd:
            each.join()
    assert answers == [True] * 100
    assert server.most <= 5
    assert server.stats().accepted == 100


@patched_or_not
@under_every_mixin
def test_bound_is_exact_in_a_crowd(alone, mode: str, mixin: str) -> None:
    alone(mode, crowd, mixin)


def busy_line(self: Any, request: Any, client_address: Any) -> None:
    request.sendall(b"busy, come back later\n")


def reject(mixin: str, handler: str) -> None:
    server = counted_server(
        mixin, HANDLERS[handler], max_connections=2, overflow="reject", reject_request=busy_line
    )
    with running(server) as address:
        with clients(address, 2) as each:
            for client in each:
                assert ask(client, b"x\n") == b"x\n"
            for _ in range(3):
                with connect(address) as third:
                    # What a client says before it is turned away does not cost it the answer.
                    third.sendall(b"hello?\n")
                    assert receive_all(third) == b"busy, come back later\n"
            assert ask(each[0], b"y\n") == b"y\n"
        eventually(lambda: server.stats().open == 0)
        assert answer_of(address, b"z\n") == b"z\n"
    stats = server.stats()
    assert (stats.accepted, stats.rejected) == (6, 3)
    assert server.most == 2


@patched_or_not
@pytest.mark.parametrize(
    ("mixin", "handler"),
    [
        *((mixin, "Echo") for mixin in MIXINS),
        *((mixin, "ClassicEcho") for mixin in (GREENLET, THREADING, FORKING)),
    ],
)
def test_one_too_many_may_be_rejected(alone, mode: str, mixin: str, handler: str) -> None:
    alone(mode, reject, mixin, handler)


def evict(mixin: str) -> None:
    server = counted_server(mixin, Echo, max_connections=3, overflow="evict")
    with running(server) as address, clients(address, 3) as each:
        for client in each:
            assert ask(client, b"x\n") == b"x\n"
            eventually(lambda: server.stats().parked == server.stats().open)
        # The first to come is not the longest silent any more.
        assert ask(each[0], b"y\n") == b"y\n"
        wait_until_parked(server, 3)
        with connect(address) as fourth:
            assert ask(fourth, b"z\n") == b"z\n"
            assert receive_all(each[1]) == b""
            assert ask(each[0], b"y\n") == b"y\n"
            assert ask(each[2], b"y\n") == b"y\n"
    assert server.stats().evicted == 1
    assert server.most == 3


@patched_or_not
@under_every_mixin
def test_longest_parked_may_be_evicted_for_a_newcomer(alone, mode: str, mixin: str) -> None:
    alone(mode, evict, mixin)


@pytest.mark.parametrize("mixin", [GREENLET, THREADING, FORKING])
def test_busy_client_is_not_evicted(mixin: str) -> None:
    server = counted_server(mixin, Holding, max_connections=1, overflow="evict")
    with running(server) as address, connect(address) as first:
        assert ask(first, b"x\n") == b"begun\n"
        with connect(address) as second:
            second.sendall(b"x\n")
            assert is_silent(second)
            # Once its turn is over it is parked, and gone.
            assert ask(first, b"y\n") == b"y\n"
            assert receive_line(second) == b"begun\n"
            assert receive_all(first) == b""
    assert server.stats().evicted == 1


def from_host(host: str, address: Any) -> Any:
    return socket.create_connection(address, source_address=(host, 0))


def limit_each_ip(mixin: str) -> None:
    server = counted_server(
        mixin, Echo, max_connections_per_ip=2, ip_prefix=(30, 64), trusted_ips=["127.0.1.0/24"]
    )
    with running(server) as address:
        kept = [from_host(host, address) for host in ("127.0.0.5", "127.0.0.6")]
        for client in kept:
            assert ask(client, b"x\n") == b"x\n"
        with from_host("127.0.0.7", address) as third:
            assert receive_all(third) == b""
        for host in ("127.0.0.9", "127.0.1.1", "127.0.1.1", "127.0.1.1"):
            kept.append(from_host(host, address))
            assert ask(kept[-1], b"x\n") == b"x\n"
        assert server.stats().rejected == 1
        kept[0].close()
        # A thread's client is not open any more a moment before its network has one less.
        eventually(lambda: is_let_in("127.0.0.7", address))
        for client in kept:
            client.close()


def is_let_in(host: str, address: Any) -> bool:
    with from_host(host, address) as client, contextlib.suppress(ConnectionError):
        return ask(client, b"x\n") == b"x\n"
    return False


@patched_or_not
@under_every_mixin
def test_each_network_may_be_limited(alone, mode: str, mixin: str) -> None:
    alone(mode, limit_each_ip, mixin)


def change_while_serving(mixin: str) -> None:
    server = counted_server(mixin, Echo, max_connections=1)
    with running(server) as address, clients(address, 3) as each:
        assert ask(each[0], b"x\n") == b"x\n"
        each[1].sendall(b"y\n")
        assert is_silent(each[1])
        server.max_connections = 2
        assert receive_line(each[1]) == b"y\n"
        each[2].sendall(b"z\n")
        assert is_silent(each[2])
        server.overflow = "evict"
        assert receive_line(each[2]) == b"z\n"
        assert receive_all(each[0]) == b""
        server.max_connections = None
        assert answer_of(address, b"again\n") == b"again\n"
        assert ask(each[1], b"y\n") == b"y\n"


@patched_or_not
@under_every_mixin
def test_limits_may_be_set_while_serving(alone, mode: str, mixin: str) -> None:
    alone(mode, change_while_serving, mixin)


def pause_and_resume(mixin: str) -> None:
    server = make_server(mixin, Echo)
    server.pause()
    with running(server) as address, connect(address) as first, connect(address) as second:
        first.sendall(b"x\n")
        assert is_silent(first)
        assert server.stats().accepted == 0
        server.resume()
        assert receive_line(first) == b"x\n"
        assert ask(second, b"x\n") == b"x\n"
        server.pause()
        with connect(address) as third:
            third.sendall(b"y\n")
            assert is_silent(third)
            assert ask(first, b"still served\n") == b"still served\n"
            server.resume()
            assert receive_line(third) == b"y\n"


@patched_or_not
@under_every_mixin
def test_accepting_may_be_paused_and_resumed(alone, mode: str, mixin: str) -> None:
    alone(mode, pause_and_resume, mixin)


def count_open(mixin: str) -> None:
    server = make_server(mixin, Echo, linger=0.001)
    with running(server) as address:
        with clients(address, 4) as each:
            for client in each:
                assert ask(client, b"x\n") == b"x\n"
            wait_until_parked(server, 4)
        wait_until_parked(server, 0)
    stats = server.stats()
    assert (stats.accepted, stats.open, stats.busy, stats.parked) == (4, 0, 0, 0)


@pytest.mark.parametrize("mixin", [NONE])
def test_default_bound_is_what_open_files_allow(mixin: str, alone) -> None:
    alone(HERE, count_open, mixin)
