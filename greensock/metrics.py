"""A server's counters for Prometheus; needs the extra `metrics`: pip install greensock[metrics].

from prometheus_client import REGISTRY
REGISTRY.register(ServerCollector(server))
"""

from __future__ import annotations

import contextlib
import http.server
from collections.abc import Iterator
from typing import Any

import gevent
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from greensock.mixins.combinations import GreenletTCPServer
from greensock.printable import address_in_words

#: Of the fields of `Stats`, those that go down as well; all others only grow.
GAUGES = {
    "open": "Clients let in and not done with",
    "parked": "Clients that hold nothing but the lot's watcher",
    "busy": "Clients whose handler runs, or waits to",
    "uptime": "Seconds for which the server has been serving",
}
# Connections at once: Prometheus keeps one a scraper.
_MOST_SCRAPERS = 16
# Seconds of silence, amid a head or after an answer, after which one is closed. Prometheus, which
# asks every 15 s to minutes, then connects anew.
_PATIENCE = 5.0

_UNITS = {"uptime": "_seconds"}


class ServerCollector(Collector):
    """Tells Prometheus what `server.stats()` says, whenever it asks.

    Every field of `Stats` is a metric `greensock_NAME` (gauge) or `greensock_NAME_total` (counter)
    with the label `server`; one with a kind for each of its counts has the label `kind` as well,
    and one that is None is left out.

    Args:
        server: the server.
        name: the label's value; by default its class and address.
    """

    def __init__(self, server: Any, name: str | None = None) -> None:
        self._server = server
        self._name = name

    def collect(self) -> Iterator[Any]:
        name = (
            self._name
            or f"{type(self._server).__name__} {address_in_words(self._server.server_address)}"
        )
        fields = self._server.stats()._asdict()
        # Counts by kind carry their sum's name; the sum would count everything twice.
        by_kind = {field.removesuffix("_by_kind") for field in fields if "_by_kind" in field}
        for field, value in fields.items():
            if field in GAUGES:
                gauge = GaugeMetricFamily(
                    f"greensock_{field}{_UNITS.get(field, '')}", GAUGES[field], labels=["server"]
                )
                gauge.add_metric([name], value)
                yield gauge
            elif field not in by_kind and value is not None:
                yield _counter(field, value, name)


def _counter(field: str, value: Any, name: str) -> CounterMetricFamily:
    short = field.removesuffix("_by_kind")
    metric = f"greensock_{short}"
    meaning = f"greensock's Stats.{field}, since the server was made"
    if isinstance(value, dict):
        counter = CounterMetricFamily(metric, meaning, labels=["server", "kind"])
        for kind, count in value.items():
            counter.add_metric([name, kind], count)
        return counter
    counter = CounterMetricFamily(metric, meaning, labels=["server"])
    counter.add_metric([name], value)
    return counter


class _Page(http.server.BaseHTTPRequestHandler):
    """The metrics, at any path."""

    protocol_version = "HTTP/1.1"
    timeout = _PATIENCE
    server: Any

    def do_GET(self) -> None:
        encode, kind = choose_encoder(self.headers.get("Accept", ""))
        body = encode(self.server.registry)
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing: it is asked every few seconds for ever."""


class _MetricsServer(GreenletTCPServer):
    """Whoever is silent here, or many, takes nothing of the server's own clients for long."""

    allow_reuse_address = True
    block_on_close = False
    max_connections = _MOST_SCRAPERS
    # The next who scrapes is let in, however many are silent.
    overflow = "evict"
    idle_timeout = _PATIENCE
    write_timeout = _PATIENCE
    registry: CollectorRegistry


@contextlib.contextmanager
def metrics_served(server: Any, address: Any, family: int) -> Iterator[Any]:
    """Answer Prometheus about `server` over HTTP for as long as the block runs.

    In greenlets of the thread that serves, so that nothing forks beside a thread: to be used in
    that thread, around `server.serve_forever()`. Yields the address that it listens on.

    Raises:
        OSError: the address cannot be bound.
    """
    server_class: Any = type("MetricsServer", (_MetricsServer,), {"address_family": family})
    with server_class(address, _Page) as metrics:
        metrics.registry = CollectorRegistry()
        metrics.registry.register(ServerCollector(server))
        greenlet = gevent.spawn(metrics.serve_forever)
        try:
            yield metrics.server_address
        finally:
            metrics.shutdown()
            greenlet.join()
