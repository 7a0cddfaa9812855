"""What a load test measured, per second and name: kept, merged and written. Pure.

The JSON form (times in ms, sizes in bytes, stamps in seconds since the epoch):

    marks       {start, spawned, stopping}; each absent until it has happened
    seconds     [[epoch, name, requests, failures, sum of ms, bytes, [[ms, requests], ...]], ...]
                a request without a time is counted, and in no bucket
    errors      {"name: error": count}
    counters    {"lost datagrams": n, "stale replies": n, ...}: what is not a request
    exceptions  [{count, msg, traceback, nodes}, ...]: bugs of the locustfile, from locust
    generators  {id: {"gen": [[epoch, CPU seconds so far, seconds so far in which it was ready to
                run but others had the CPUs], ...], "lag": [[epoch, ms], ...]}}: one entry per
                locust process that ran users; lag is by how much a 100 ms timer came late
"""

from __future__ import annotations

from typing import Any

from greensock.loadtest.histogram import Histogram

#: Distinct error texts kept; a server that puts a number into each of its errors would otherwise
#: fill the memory. The rest is counted as "other errors". (Arbitrary.)
MAX_ERROR_TEXTS = 500


class Row:
    """The requests of one name that ended within one second."""

    __slots__ = ("failures", "histogram", "requests", "size", "total_ms")

    def __init__(self) -> None:
        self.requests = 0
        self.failures = 0
        self.total_ms = 0.0
        self.size = 0
        self.histogram = Histogram()

    def merge(self, other: Row) -> None:
        self.requests += other.requests
        self.failures += other.failures
        self.total_ms += other.total_ms
        self.size += other.size
        self.histogram.merge(other.histogram)


class Recording:
    """The measurements of one load test, or the part of them not yet sent to the master."""

    def __init__(self) -> None:
        self.rows: dict[tuple[int, str], Row] = {}
        self.errors: dict[str, int] = {}
        self.counters: dict[str, int] = {}
        self.marks: dict[str, float] = {}
        self.generators: dict[str, dict[str, list[Any]]] = {}

    def add_request(
        self, second: int, name: str, response_time: float | None, size: int, error: object
    ) -> None:
        """Count a request that ended in that second.

        response_time is in ms, or None for one that is counted without a time; error is None or
        whatever is to be shown as text.
        """
        row = self.rows.get((second, name))
        if row is None:
            row = self.rows[second, name] = Row()
        row.requests += 1
        row.size += size
        if response_time is not None:
            row.total_ms += response_time
            row.histogram.add(response_time)
        if error is not None:
            row.failures += 1
            self._add_error(f"{name}: {error}", 1)

    def _add_error(self, text: str, number: int) -> None:
        if text not in self.errors and len(self.errors) >= MAX_ERROR_TEXTS:
            text = "other errors"
        self.errors[text] = self.errors.get(text, 0) + number

    def add_to_counter(self, counter: str, number: int = 1) -> None:
        self.counters[counter] = self.counters.get(counter, 0) + number

    def add_generator_sample(
        self,
        generator: str,
        lag: tuple[float, float] | None = None,
        cpu: tuple[float, float, float] | None = None,
    ) -> None:
        """lag is (epoch, ms); cpu is (epoch, CPU seconds used, seconds waited for a CPU) so far."""
        series = self.generators.setdefault(generator, {"gen": [], "lag": []})
        if lag is not None:
            series["lag"].append(list(lag))
        if cpu is not None:
            series["gen"].append(list(cpu))

    def by_name(self) -> dict[str, Row]:
        """The rows of the whole test, without the seconds."""
        names: dict[str, Row] = {}
        for (_second, name), row in self.rows.items():
            names.setdefault(name, Row()).merge(row)
        return names

    def batch(self) -> dict[str, Any]:
        """Everything but the marks, as plain lists and dicts that JSON and msgpack can carry."""
        return {
            "seconds": [
                [
                    second,
                    name,
                    row.requests,
                    row.failures,
                    round(row.total_ms, 3),
                    row.size,
                    row.histogram.pairs(),
                ]
                for (second, name), row in sorted(self.rows.items())
            ],
            "errors": dict(self.errors),
            "counters": dict(self.counters),
            "generators": self.generators,
        }

    def merge_batch(self, batch: dict[str, Any]) -> None:
        """Add what `batch` of another process's recording returned."""
        for second, name, requests, failures, total_ms, size, pairs in batch["seconds"]:
            row = self.rows.setdefault((second, name), Row())
            row.requests += requests
            row.failures += failures
            row.total_ms += total_ms
            row.size += size
            row.histogram.merge_pairs(pairs)
        for text, number in batch["errors"].items():
            self._add_error(text, number)
        for counter, number in batch["counters"].items():
            self.add_to_counter(counter, number)
        for generator, series in batch["generators"].items():
            kept = self.generators.setdefault(generator, {"gen": [], "lag": []})
            kept["gen"] += series["gen"]
            kept["lag"] += series["lag"]

    def as_json(self, exceptions: list[dict[str, Any]]) -> dict[str, Any]:
        """The form described above, with the exceptions that locust logged."""
        return {"marks": dict(self.marks), "exceptions": exceptions, **self.batch()}
