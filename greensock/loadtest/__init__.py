"""Locust users for TCP, TLS, UDP and Unix sockets, arrival schedules and a microsecond collector.

For locustfiles only. Importing this package imports nothing else: its names are loaded when they
are first used, because importing locust monkey-patches the whole process.

    from greensock.loadtest import TCPUser, task


    class EchoUser(TCPUser):
        host = "tcp://127.0.0.1:9999"

        @task
        def echo(self) -> None:
            self.client.exchange(b"hello\\n", "echo")
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from locust import events, task

    from greensock.loadtest.clients.client import SocketClient
    from greensock.loadtest.clients.datagrams import DatagramClient
    from greensock.loadtest.clients.receiving import ConnectionClosed
    from greensock.loadtest.clients.reply import Reply
    from greensock.loadtest.histogram import Histogram
    from greensock.loadtest.idle import IdleSwarm
    from greensock.loadtest.options import schedule_from_command_line
    from greensock.loadtest.schedule import Schedule, Stage, parse_stages
    from greensock.loadtest.users import SocketUser, TCPUser, UDPUser, UnixUser

_HOMES = {
    "ConnectionClosed": "greensock.loadtest.clients.receiving",
    "DatagramClient": "greensock.loadtest.clients.datagrams",
    "Histogram": "greensock.loadtest.histogram",
    "IdleSwarm": "greensock.loadtest.idle",
    "Reply": "greensock.loadtest.clients.reply",
    "Schedule": "greensock.loadtest.schedule",
    "SocketClient": "greensock.loadtest.clients.client",
    "SocketUser": "greensock.loadtest.users",
    "Stage": "greensock.loadtest.schedule",
    "TCPUser": "greensock.loadtest.users",
    "UDPUser": "greensock.loadtest.users",
    "UnixUser": "greensock.loadtest.users",
    "events": "locust",
    "parse_stages": "greensock.loadtest.schedule",
    "schedule_from_command_line": "greensock.loadtest.options",
    "task": "locust",
}

__all__ = [
    "ConnectionClosed",
    "DatagramClient",
    "Histogram",
    "IdleSwarm",
    "Reply",
    "Schedule",
    "SocketClient",
    "SocketUser",
    "Stage",
    "TCPUser",
    "UDPUser",
    "UnixUser",
    "events",
    "parse_stages",
    "schedule_from_command_line",
    "task",
]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(home), name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "locust":
            raise
        raise ModuleNotFoundError(
            'greensock.loadtest needs locust, which the extra "loadtest" brings: '
            "pip install greensock[loadtest]",
            name=error.name,
        ) from None


def __dir__() -> list[str]:
    return sorted(__all__)
