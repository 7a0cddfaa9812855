"""What Prometheus is told."""

import subprocess
import sys
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

import greensock
from greensock.metrics import ServerCollector

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
        server._gs_counters.add_timeout("idle")
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
