"""The benchmark against peers: every contender answers, and what is counted is what happened."""

import http.client
import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from loadtests.peers import catalogue, machine, measures
from loadtests.peers.__main__ import main
from loadtests.peers.catalogue import CONTENDERS, Contender
from loadtests.peers.contenders.http_page import PAGE
from loadtests.peers.load.latencies import summarise
from loadtests.peers.measures.echo import measure_beside_idle
from loadtests.peers.measures.http import measure_http
from loadtests.peers.measures.idle import measure_idle
from loadtests.peers.requirements import REQUIREMENTS, Requirement, judge
from loadtests.peers.results import Results
from loadtests.peers.running import CHECKOUT, Generator, NotMeasured, Server, serving

CORES = machine.Cores.available()
ANSWER_TIMEOUT = 10.0  # seconds; only a server that does not answer at all takes that long

TINY = measures.Scale(
    rounds=1,
    warmup=0.02,
    window=0.05,
    attempts=1,
    idle_clients=50,
    settle=0.0,
    idle_window=0.1,
    peer_idle_window=0.1,
    levels=(10,),
    pairs=1,
    grown_connections=(50, 100),
    everyone=True,
)


def _needs(contender: Contender) -> Contender:
    if missing := contender.missing():
        pytest.skip(f"{missing} is not installed")
    return contender


@pytest.fixture
def epoll() -> Iterator[tuple[Server, Generator]]:
    with serving(catalogue.BY_NAME["epoll"], CORES) as pair:
        yield pair


def _exchange(server: Server, kind: str) -> None:
    if kind == "http":
        connection = http.client.HTTPConnection(*server.address, timeout=ANSWER_TIMEOUT)
        try:
            for _ in range(2):
                connection.request("GET", "/")
                first = connection.sock
                assert connection.getresponse().read() == PAGE
            assert connection.sock is first, "the connection was not kept alive"
        finally:
            connection.close()
        return
    family = socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, family) as client:
        client.settimeout(ANSWER_TIMEOUT)
        client.connect(server.address)
        for line in (b"one\n", b"another\n"):
            client.sendall(line)
            assert client.recv(100) == line


@pytest.mark.parametrize("contender", CONTENDERS, ids=lambda contender: contender.name)
def test_contender_answers(contender: Contender) -> None:
    server = Server(_needs(contender), CORES.server)
    try:
        _exchange(server, contender.kind)
        assert server.complaint() == ""
    finally:
        server.stop()


def test_generator_holds_idle_clients_and_sees_them_lost(epoll: tuple[Server, Generator]) -> None:
    server, generator = epoll
    assert generator.ask("hold", count=20, deadline=10) == {"held": 20, "failed": 0}
    assert generator.ask("hold", count=90, deadline=10, silent=True) == {"held": 90, "failed": 0}
    assert generator.ask("check") == {"held": 90, "lost": 0}
    server.stop()
    assert generator.ask("check") == {"held": 90, "lost": 90}


def test_generator_counts_clients_that_are_not_served(epoll: tuple[Server, Generator]) -> None:
    server, generator = epoll
    server.stop()
    assert generator.ask("hold", count=3, deadline=10) == {"held": 0, "failed": 3}
    with pytest.raises(NotMeasured, match="were not answered"):
        generator.ask("echo", clients=3, warmup=0.0, seconds=0.05, attempts=1)


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("echo", {"clients": 5, "warmup": 0.02, "seconds": 0.1, "attempts": 1}),
        ("connect", {"at_once": 5, "warmup": 0.02, "seconds": 0.1, "attempts": 1}),
        ("flood", {"warmup": 0.02, "seconds": 0.1, "attempts": 1}),
    ],
)
def test_load_reports_rate_and_latency(
    epoll: tuple[Server, Generator], command: str, arguments: dict[str, Any]
) -> None:
    figures = epoll[1].ask(command, **arguments)
    assert figures["done"] > 0
    assert figures["per_second"] == pytest.approx(figures["done"] / figures["seconds"])
    assert 0 < figures["p50_us"] <= figures["p99_us"] <= figures["max_us"]
    assert sum(count for _, count in figures["histogram"]) == figures["done"]
    assert not figures.get("lost")
    assert not figures.get("failed")


def test_connect_ends_after_the_number_asked_for(epoll: tuple[Server, Generator]) -> None:
    load = {"at_once": 5, "warmup": 0.0, "seconds": 10.0, "attempts": 1}
    figures = epoll[1].ask("connect", **load, count=40)
    assert 40 <= figures["done"] < 40 + 5


def test_idle_measure_sees_what_a_silent_server_does() -> None:
    figures = measure_idle(catalogue.BY_NAME["epoll"], TINY, CORES)
    assert (figures["clients"], figures["lost"], figures["wakeups"]) == (50, 0, 0)


def test_beside_idle_measure_compares_two_servers() -> None:
    figures = measure_beside_idle(catalogue.BY_NAME["epoll"], TINY, CORES)
    kept = figures["per_second@10"] / figures["per_second@0"]
    assert figures["kept@10"] == pytest.approx(kept)
    assert figures["lost"] == 0


@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")
def test_http_measure_reads_what_wrk_prints() -> None:
    figures = measure_http(catalogue.BY_NAME["socketserver-http-no-nagle"], TINY, CORES)
    assert figures["per_second"] > 0
    assert figures["failed"] == 0
    assert 0 < figures["p50_us"] <= figures["p99_us"]


def test_percentiles_are_microseconds_and_the_histogram_has_two_digits() -> None:
    summary = summarise([1_000 * us for us in range(1, 1_001)])
    assert (summary["p50_us"], summary["p99_us"], summary["max_us"]) == (501, 991, 1_000)
    assert dict(summary["histogram"])[120] == 10


def _results(**figures: list[dict[str, Any]]) -> Results:
    results = Results({})
    for contender, rounds in figures.items():
        for number, values in enumerate(rounds):
            results.add("echo", contender, number, values)
    return results


def test_ratio_is_taken_within_each_round() -> None:
    results = _results(ours=[{"x": 2}, {"x": 20}, {"x": 90}], theirs=[{"x": 1}, {"x": 10}])
    verdict = judge(Requirement("echo", "x", "ours", 2.0, "theirs"), results)
    assert (verdict.value, verdict.reached) == (2.0, True)


def test_rates_are_compared_per_cpu_second_where_the_server_was_not_the_limit() -> None:
    limited = {"per_second@1": 100, "per_server_second@1": 200, "saturated@1": True}
    usual = {"per_second@1": 90, "per_server_second@1": 90, "saturated@1": False}
    results = _results(ours=[usual], theirs=[limited])
    verdict = judge(Requirement("echo", "per_second@1", "ours", 0.85, "theirs"), results)
    assert (verdict.value, verdict.per_cpu, verdict.reached) == (0.45, True, False)


def test_what_was_not_measured_is_neither_reached_nor_missed() -> None:
    verdict = judge(Requirement("echo", "x", "ours", 1.0), _results())
    assert (verdict.value, verdict.reached) == (None, None)


def test_requirements_name_contenders_that_their_measure_has() -> None:
    for requirement in REQUIREMENTS:
        measure = measures.BY_NAME[requirement.measure]
        for name in filter(None, (requirement.contender, requirement.against)):
            assert measure.suits(catalogue.BY_NAME[name], measures.FULL), (measure.name, name)
    assert {one.measure for one in REQUIREMENTS} == set(measures.BY_NAME) - {"startup"}


def test_command_writes_figures_and_machine(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    options = ["--quick", "--only", "startup", "--contenders", "epoll", "--json", str(file)]
    done = subprocess.run(
        [sys.executable, "-m", "loadtests.peers", *options],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(file.read_text())
    assert document["medians"]["startup"]["epoll"]["first_answer_ms"] > 0
    assert document["versions"]["python"]
    assert "--only startup" in document["command"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--only", "nothing"], "a measure must be one of idle, "),
        (["--contenders", "nobody"], "a contender must be one of greensock-greenlet, "),
        (["--rounds", "0"], "--rounds must be a positive integer, not 0"),
    ],
)
def test_a_wrong_option_is_answered_in_one_line(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1
