"""Locust user classes for plain sockets."""

from __future__ import annotations

import inspect
import logging
import ssl
import sys
from typing import Any

from locust import User, events
from locust.env import Environment
from locust.exception import StopTest
from locust.runners import WorkerRunner
from locust.user.task import LOCUST_STATE_WAITING

from greensock.loadtest.clients.address import parse_address
from greensock.loadtest.clients.client import SocketClient
from greensock.loadtest.clients.datagrams import DatagramClient
from greensock.loadtest.collector import COLLECTOR
from greensock.loadtest.schedule import Schedule
from greensock.net import open_files

logger = logging.getLogger("greensock.loadtest")


class SocketUser(User):
    """A user with a connection of its own, as `self.client`, to whatever `host` names.

    host is tcp://HOST:PORT, tls://HOST:PORT, udp://HOST:PORT or unix:PATH, in the class or by
    locust's --host. The client connects when it is first used, again after an error, and is closed
    when the user stops; self.client is a SocketClient, for udp:// a DatagramClient.

    Class variables:
        connection_timeout: seconds for a connect, and for a TLS handshake; None: no limit.
        network_timeout: seconds for one send or receive; None: no limit.
        ssl_context: for tls://; None trusts what the system trusts, and the certificate that the
            environment variable SSL_CERT_FILE names.
        numbered: for udp://, begin each datagram with a number that the server sends back.
        wait_time: locust's; a Schedule gives arrivals at a rate.

    Errors: a host that is missing or of no such form stops the test, with exit status 2.
    """

    abstract = True

    connection_timeout: float | None = 10.0
    network_timeout: float | None = 10.0
    ssl_context: ssl.SSLContext | None = None
    numbered: bool = False
    schemes: tuple[str, ...] = ("tcp", "tls", "udp", "unix")

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self.client = self._make_client()

    @classmethod
    def check_host(cls, host: str | None) -> str:
        """The host itself, if a user of this class can use it.

        Raises:
            ValueError: it is missing, of no known form, or of another kind of socket.
        """
        if not host:
            raise ValueError("host is missing: give --host, or the user class a host")
        if parse_address(host).scheme not in cls.schemes:
            allowed = " or ".join(f"{scheme}:" for scheme in cls.schemes)
            raise ValueError(f"host of {cls.__name__} must begin with {allowed}, not {host!r}")
        return host

    def _make_client(self) -> SocketClient:
        try:
            host = self.check_host(self.host)
        except ValueError as error:
            # Only a host that was given in the web UI gets here. Locust would end with status 0.
            self.environment.process_exit_code = 2
            raise StopTest(str(error)) from None
        options: dict[str, Any] = {
            "connection_timeout": self.connection_timeout,
            "network_timeout": self.network_timeout,
            "context": self.context,
            "count": COLLECTOR.count,
        }
        request_event = self.environment.events.request
        if parse_address(host).scheme == "udp":
            return DatagramClient(host, request_event, numbered=self.numbered, **options)
        return SocketClient(host, request_event, ssl_context=self.ssl_context, **options)

    @property
    def due(self) -> float | None:
        """From when the next request is timed if it is late; a Schedule sets it."""
        return self.client.due

    @due.setter
    def due(self, due: float | None) -> None:
        self.client.due = due

    def on_start(self) -> None:
        """Wait for the first arrival, if the wait_time is a Schedule.

        Without that (a subclass that does not call it) the users' first tasks come all at once.
        """
        if schedule_of(type(self)) is not None:
            User.wait(self)

    def stop(self, force: bool = False) -> bool:
        """Locust stops the user: at once if it waits (or force), else after its task."""
        if force or self._state == LOCUST_STATE_WAITING:
            # Locust kills it by a callback, before which its timer may wake it; the request that
            # it then began would be cut off, and only the server would have counted it.
            self.client.refuse_requests()
        return bool(super().stop(force))

    def on_stop(self) -> None:
        self.client.close()


class TCPUser(SocketUser):
    """A SocketUser whose host is tcp:// or tls:// (or http://, read as tcp://)."""

    abstract = True
    schemes = ("tcp", "tls")


class UDPUser(SocketUser):
    """A SocketUser whose host is udp://; a reply that takes network_timeout, 1 s, is lost."""

    abstract = True
    schemes = ("udp",)
    network_timeout = 1.0


class UnixUser(SocketUser):
    """A SocketUser whose host is a stream socket's path, unix:PATH."""

    abstract = True
    schemes = ("unix",)


def schedule_of(user_class: type[User]) -> Schedule | None:
    """The class's wait_time if that is a Schedule."""
    found = inspect.getattr_static(user_class, "wait_time", None)
    return found if isinstance(found, Schedule) else None


def raise_open_file_limit(**_: Any) -> None:
    """Allow as many open files as the hard limit does; locust itself stops at 10,000."""
    open_files.raise_limit()


def check_hosts(environment: Environment, **_: Any) -> None:
    """End with status 2 and one line when a host on the command line cannot be used.

    In a test that runs, locust would print a traceback for it, and end with status 0.
    """
    options = environment.parsed_options
    if options is None or isinstance(environment.runner, WorkerRunner):
        return
    for user_class in environment.user_classes:
        if issubclass(user_class, SocketUser) and (environment.host or options.headless):
            try:
                user_class.check_host(environment.host or user_class.host)
            except ValueError as error:
                logger.error("%s", error)
                sys.exit(2)


def restart_schedules(environment: Environment, **_: Any) -> None:
    """Let stages begin with each test: the web UI starts several in one process."""
    for user_class in environment.user_classes:
        if (schedule := schedule_of(user_class)) is not None:
            schedule.restart()


events.init.add_listener(check_hosts)
events.init.add_listener(raise_open_file_limit)
events.test_start.add_listener(restart_schedules)
