"""What a server tells of its clients on its control socket."""

import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from greensock.control import asking, place
from greensock.control.asking import Snapshot
from greensock.control.place import NoControl
from greensock.control.rows import Row

from ..clients import ask, clients, connect, eventually, receive_line
from ..server_kinds import FORKING, MIXINS

HOLDING = "tests.server_kinds:Holding"


def peer_of(client: socket.socket) -> str:
    return "{}:{}".format(*client.getsockname())


def row_of(snapshot: Snapshot, client: socket.socket) -> Row | None:
    found = [row for row in snapshot.rows if row.peer == peer_of(client)]
    assert len(found) <= 1, "listed twice"
    return found[0] if found else None


def sent_to(path: Path, those: tuple[socket.socket, ...]) -> list[int | None]:
    snapshot = asking.ask(path)
    return [row.sent if (row := row_of(snapshot, client)) else None for client in those]


@pytest.mark.parametrize("mixin", MIXINS)
def test_clients_are_told_with_what_they_do(served: Callable[..., Any], mixin: str) -> None:
    with served(HOLDING, "--mixin", mixin, "--control") as server:
        path = asking.find(str(server.pid))
        with connect(server.address) as done, connect(server.address) as silent:
            assert ask(done, b"x\n") == b"begun\n"
            assert ask(done, b"end\n") == b"end\n"
            eventually(lambda: asking.ask(path).about["stats"]["parked"] == 2)
            with connect(server.address) as held:
                assert ask(held, b"abc\n") == b"begun\n"
                snapshot = asking.ask(path)
                told = [row_of(snapshot, client) for client in (done, silent, held)]
                assert [row and row.state for row in told] == ["parked", "parked", "busy"]
                assert [row and row.received for row in told] == [6, 0, 4]
                # What was sent is told once it has been acknowledged.
                eventually(lambda: sent_to(path, (done, silent, held)) == [10, 0, 6])
                assert told[2] is not None
                where = "child " if mixin == FORKING else "server_kinds.py"
                assert where in told[2].where
                assert asking.find("{}:{}".format(*server.address)) == path
    assert snapshot.about["handler"] == "Holding"
    assert snapshot.about["stats"]["open"] == 3


def test_classic_handlers_are_told_with_their_line(served: Callable[..., Any]) -> None:
    with served("greensock.examples:ClassicEcho", "--control") as server:
        with clients(server.address, 600) as crowd:
            assert ask(crowd[-1], b"x\n") == b"x\n"
            snapshot = asking.ask(asking.find(str(server.pid)))
            assert {row.peer for row in snapshot.rows} == set(map(peer_of, crowd))
        assert all("in ClassicEcho.handle" in row.where for row in snapshot.rows)


def test_thousands_are_told_in_parts_and_none_twice(served: Callable[..., Any]) -> None:
    with (
        served("greensock.examples:Echo", "--control") as server,
        clients(server.address, 1000) as crowd,
    ):
        ask(crowd[-1], b"x\n")
        path = asking.find(str(server.pid))
        eventually(lambda: len(asking.ask(path).rows) == 1000)
        assert {row.peer for row in asking.ask(path).rows} == set(map(peer_of, crowd))
        with connect(str(path)) as asker, asker.makefile("rb") as answers:
            asker.sendall(b"clients\n")
            assert b'"stats"' in answers.readline()
            assert len(list(iter(answers.readline, b"[]\n"))) >= 5


def test_socket_and_folder_are_private_and_gone_afterwards(
    served: Callable[..., Any], runtime_folder: Path
) -> None:
    with served("greensock.examples:Echo", "--control") as server:
        path = asking.find(str(server.pid))
        assert stat.S_IMODE(runtime_folder.stat().st_mode) == 0o700
        assert path.parent == runtime_folder
        server.process.terminate()
        assert server.process.wait() == 0
    assert list(runtime_folder.iterdir()) == []


def test_anything_else_that_is_asked_is_refused(served: Callable[..., Any]) -> None:
    with (
        served("greensock.examples:Echo", "--control") as server,
        connect(str(asking.find(str(server.pid)))) as asker,
    ):
        asker.sendall(b"kill them all\n")
        assert receive_line(asker) == b'{"error": "ask for stats or clients"}\n'
        assert asker.recv(1) == b""


def test_who_has_no_control_socket_is_told_how_to_get_one(runtime_folder: Path) -> None:
    for server in (str(os.getpid()), "127.0.0.1:9"):
        with pytest.raises(NoControl, match="greensock serve --control"):
            asking.find(server)


def test_left_over_socket_of_an_ended_process_is_passed_over(runtime_folder: Path) -> None:
    place.make_folder()
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(runtime_folder / "1.sock"))
    with pytest.raises(NoControl, match="no server on tcp://127"):
        asking.find("127.0.0.1:9")
    with pytest.raises(NoControl, match="refused"):
        asking.ask(asking.find("1"))
    (runtime_folder / "1.sock").unlink()


def test_folder_that_others_may_enter_is_not_used(runtime_folder: Path) -> None:
    runtime_folder.mkdir(mode=0o755)
    with pytest.raises(NoControl, match=r"mode 0700, not 0755"):
        place.make_folder()
    with pytest.raises(NoControl, match=r"mode 0700, not 0755"):
        place.find_sockets("*")


def test_link_in_place_of_the_folder_is_not_used(runtime_folder: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    runtime_folder.symlink_to(elsewhere)
    with pytest.raises(NoControl, match="must be a folder"):
        place.make_folder()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to somebody else")
def test_folder_of_another_user_is_not_used(runtime_folder: Path) -> None:
    runtime_folder.mkdir(mode=0o700)
    os.chown(runtime_folder, 12345, 12345)
    with pytest.raises(NoControl, match="must belong to user 0, not 12345"):
        place.make_folder()
