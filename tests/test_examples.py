"""The handlers of greensock.examples: what people copy, and so safe as it stands."""

from typing import Any

import pytest

from greensock.examples import Chat
from greensock.testing import running

from .clients import clients, connect, eventually, receive_line
from .separate_process import HERE, PATCHED
from .server_kinds import GREENLET, NONE, THREADING, make_server

pytest_plugins = ["tests.alone"]


def nobody_waits_for_who_does_not_read(mixin: str) -> None:
    members: dict[Any, str] = {}
    server = make_server(mixin, type("Chat", (Chat,), {"_members": members}))
    line, number = b"x" * 8000 + b"\n", 3000
    said = b"speaker: " + line
    with running(server) as address, clients(address, 3) as (speaker, silent, listener):
        for client, name in ((speaker, b"speaker"), (silent, b"silent"), (listener, b"listener")):
            assert receive_line(client) == b"Your name?\n"
            client.sendall(name + b"\n")
            eventually(lambda name=name: name.decode() in members.values())  # type: ignore[misc]
            if client is not speaker:
                assert receive_line(speaker) == b"* " + name + b" is here\n"
        with listener.makefile("rb") as heard:
            for _ in range(number):
                # One after the other: who reads too slowly has to leave, and that is not this one.
                speaker.sendall(line)
                assert next(each for each in heard if each.startswith(b"speaker: ")) == said
        assert receive_line(speaker) == b"* silent has left\n"
        # And the others go on.
        with connect(address) as late:
            assert receive_line(late) == b"Your name?\n"
            late.sendall(b"late\n")
            assert receive_line(speaker) == b"* late is here\n"


@pytest.mark.parametrize(
    ("mode", "mixin"),
    [(HERE, NONE), (HERE, GREENLET), (HERE, THREADING), (PATCHED, THREADING)],
)
def test_chat_does_not_wait_for_who_does_not_read(alone: Any, mode: str, mixin: str) -> None:
    alone(mode, nobody_waits_for_who_does_not_read, mixin)
