"""A server's counters for Prometheus; needs the extra `metrics`: pip install greensock[metrics].

from prometheus_client import REGISTRY
REGISTRY.register(ServerCollector(server))
"""

from __future__ import annotations

import contextlib
import http.server
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import gevent

try:
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
    from prometheus_client.exposition import choose_encoder
    from prometheus_client.registry import Collector
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] != "prometheus_client":
        raise
    raise ModuleNotFoundError(
        'greensock.metrics needs prometheus_client, which the extra "metrics" brings: '
        "pip install greensock[metrics]",
        name=error.name,
    ) from None

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
        return _families({self._name or _name_of(self._server): self._server})


class ServersCollector(Collector):
    """The same of several servers: each metric is told once, with a value for each of them.

    Args:
        servers: those that are there whenever Prometheus asks.
    """

    def __init__(self, servers: Callable[[], Iterable[Any]]) -> None:
        self._servers = servers

    def collect(self) -> Iterator[Any]:
        return _families({_name_of(server): server for server in self._servers()})


def _name_of(server: Any) -> str:
    return f"{type(server).__name__} {address_in_words(server.server_address)}"


def _families(servers: dict[str, Any]) -> Iterator[Any]:
    families: dict[str, Any] = {}
    for name, server in servers.items():
        fields = server.stats()._asdict()
        # Counts by kind carry their sum's name; the sum would count everything twice.
        by_kind = {field.removesuffix("_by_kind") for field in fields if "_by_kind" in field}
        for field, value in fields.items():
            if value is None or field in by_kind:
                continue
            family = families.setdefault(field, _family(field, isinstance(value, dict)))
            for kind, count in value.items() if isinstance(value, dict) else [(None, value)]:
                family.add_metric([name] if kind is None else [name, kind], count)
    yield from families.values()


def _family(field: str, has_kinds: bool) -> Any:
    if field in GAUGES:
        metric = f"greensock_{field}{_UNITS.get(field, '')}"
        return GaugeMetricFamily(metric, GAUGES[field], labels=["server"])
    return CounterMetricFamily(
        f"greensock_{field.removesuffix('_by_kind')}",
        f"greensock's Stats.{field}, since the server was made",
        labels=["server", "kind"] if has_kinds else ["server"],
    )


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
def metrics_served(
    server: Any, address: Any, family: int, registry: CollectorRegistry | None = None
) -> Iterator[Any]:
    """Answer Prometheus about `server` over HTTP for as long as the block runs.

    In greenlets of the thread that serves, so that nothing forks beside a thread: to be used in
    that thread, around `server.serve_forever()`. Yields the address that it listens on.

    Args:
        registry: what is told; None: what `server` counts, and nothing else.

    Raises:
        OSError: the address cannot be bound.
    """
    server_class: Any = type("MetricsServer", (_MetricsServer,), {"address_family": family})
    with server_class(address, _Page) as metrics:
        if registry is None:
            registry = CollectorRegistry()
            registry.register(ServerCollector(server))
        metrics.registry = registry
        greenlet = gevent.spawn(metrics.serve_forever)
        try:
            yield metrics.server_address
        finally:
            metrics.shutdown()
            greenlet.join()
