"""What Prometheus is told."""

import contextlib
import resource
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

import greensock
from greensock.metrics import ServerCollector, ServersCollector

from ..clients import ask, connect
from ..separate_process import REPOSITORY
from ..server_kinds import ANY_PORT, MIXINS, Echo

SERVE = (sys.executable, "-m", "greensock", "serve")


def scraped(url: str) -> dict[str, float]:
    with urllib.request.urlopen(url) as response:
        assert response.headers["Content-Type"].startswith("text/plain")
        lines = response.read().decode().splitlines()
    samples = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {name.partition("{")[0]: float(value) for name, _, value in samples}


@pytest.mark.parametrize("mixin", MIXINS)
def test_served_beside_the_server(served: Callable[..., Any], mixin: str) -> None:
    arguments = ("greensock.examples:Echo", "--mixin", mixin, "--metrics", "127.0.0.1:0")
    with (
        served(*arguments) as server,
        connect(server.address) as first,
        connect(server.address) as second,
    ):
        ask(first, b"x\n")
        ask(second, b"x\n")
        told = scraped(server.metrics)
        assert told["greensock_accepted_total"] == 2
        assert told["greensock_open"] == 2
        assert told["greensock_errors_total"] == 0
        assert told["greensock_uptime_seconds"] > 0
        assert told["greensock_parked"] + told["greensock_busy"] == 2


@pytest.mark.parametrize("counts", [True, False])
def test_every_field_of_stats_is_told_once(counts: bool) -> None:
    registry = CollectorRegistry()
    with greensock.TCPServer(ANY_PORT, Echo) as server:
        server.count_bytes = counts
        server._greensock.counters.add_timeout("idle")
        registry.register(ServerCollector(server, "mine"))
        samples = [sample for metric in registry.collect() for sample in metric.samples]
        assert registry.get_sample_value(
            "greensock_timeouts_total", {"server": "mine", "kind": "idle"}
        )
        stats = server.stats()
        fields = {name for name in stats._fields if getattr(stats, name) is not None}
        fields.remove("timeouts_by_kind")
    assert ("bytes_sent" in fields) is counts
    names = {sample.name.removeprefix("greensock_") for sample in samples}
    assert names == {
        {"open": "open", "parked": "parked", "busy": "busy", "uptime": "uptime_seconds"}.get(
            field, f"{field}_total"
        )
        for field in fields
    }


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("nowhere", "--metrics: address must be host:port"),
        ("udp://127.0.0.1:0", "--metrics: address must be host:port"),
        ("192.0.2.1:1", "--metrics: cannot listen on tcp://192.0.2.1:1"),
    ],
)
def test_mistake_gets_one_line_and_status_2(address: str, message: str) -> None:
    done = subprocess.run(
        [*SERVE, "greensock.examples:Echo", "--bind", "127.0.0.1:0", "--metrics", address],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        check=False,
    )
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_who_is_silent_takes_no_descriptor_of_the_clients(served: Callable[..., Any]) -> None:
    def few_files() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (150, 150))

    arguments = ("greensock.examples:Echo", "--metrics", "127.0.0.1:0")
    with served(*arguments, before=few_files) as server, contextlib.ExitStack() as stack:
        port = int(server.metrics.removesuffix("/metrics").rpartition(":")[2])
        silent = [stack.enter_context(connect(("127.0.0.1", port))) for _ in range(120)]
        for client in silent:
            client.sendall(b"GET /metrics HTTP/1.1\r\nX: ")
        # However many are silent, others are let in: the longest silent goes for each.
        for _ in range(3):
            assert scraped(server.metrics)["greensock_errors_total"] == 0
        clients = [stack.enter_context(connect(server.address)) for _ in range(40)]
        for client in clients:
            assert ask(client, b"x\n") == b"x\n"
        for client in silent:
            # Those that are left go for their silence.
            with contextlib.suppress(ConnectionResetError):
                assert client.recv(100) == b""


def test_several_servers_are_told_in_one_family() -> None:
    servers = [greensock.TCPServer(ANY_PORT, Echo) for _ in "ab"]
    families = list(ServersCollector(lambda: servers).collect())
    for server in servers:
        server.server_close()
    assert len({family.name for family in families}) == len(families)
    (opened,) = [family for family in families if family.name == "greensock_open"]
    assert len({sample.labels["server"] for sample in opened.samples}) == 2


@pytest.mark.parametrize(
    ("missing", "module", "name", "extra"),
    [
        ("prometheus_client", "greensock.metrics", "ServerCollector", "greensock[metrics]"),
        ("locust", "greensock.loadtest", "TCPUser", "greensock[loadtest]"),
        ("locust", "greensock.loadtest", "schedule_from_command_line", "greensock[loadtest]"),
    ],
)
def test_missing_extra_is_named(missing: str, module: str, name: str, extra: str) -> None:
    code = f"import sys; sys.modules[{missing!r}] = None; from {module} import {name}"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY
    )
    last = done.stderr.splitlines()[-1]
    assert last.startswith("ModuleNotFoundError: ")
    assert f"pip install {extra}" in last
