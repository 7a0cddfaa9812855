"""The soak, for a moment; and that it would find what it looks for."""

import dataclasses
import random
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from greensock.torture.server_process import ServerProcess
from loadtests.soak import Record, drifts, judge, play_round
from loadtests.soaking import stage, tls_faults
from loadtests.soaking.certificates import Certificates
from loadtests.soaking.counting import Count
from loadtests.soaking.faults import (
    DESTRUCTIVE,
    Deck,
    crowd,
    drained,
    faults_for,
    few_files,
    flood,
    resets,
    stopped_servers,
)
from loadtests.soaking.fleet import Fleet, Holding
from loadtests.soaking.stage import Stage, Tls
from loadtests.soaking.sums import Sums
from loadtests.soaking.tls_faults import new_certificate, spoiled_handshakes

from ..separate_process import REPOSITORY

SOAK = (sys.executable, "-m", "loadtests.soak")
MIXINS = ("--mixins", "greenlet,forking")

IDLE = Holding(16 << 20, 6, 1, 0, 6, 0)

needs_openssl = pytest.mark.skipif(not shutil.which("openssl"), reason="needs openssl")


@pytest.mark.parametrize(
    "kinds", ["echo,classic,udp", pytest.param("echo,tls,http,push", marks=needs_openssl)]
)
def test_a_moment_of_it_passes(kinds: str) -> None:
    done = subprocess.run(
        [*SOAK, "--minutes", "0.001", "--round", "1", *MIXINS, "--kinds", kinds],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing found: passed" in done.stdout
    assert "greenlet        1 " in done.stdout
    assert "forking         1 " in done.stdout


def test_wrong_answers_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    # Answers of another length are waited for: not for as long as a soak would.
    monkeypatch.setattr(stage, "PATIENCE", 1.0)
    command = f"{sys.executable} -m tests.torture.planted_servers mixes-up"
    with ServerProcess(command, "127.0.0.1:0") as it:
        fleet: Any = SimpleNamespace(
            mixin="planted", addresses={"echo": it.target.sockaddr}, views={}
        )
        count = play_round(fleet, 0.5, (resets,), ("echo",))
    record = Record()
    record.add(count, (resets,))
    assert any(" wrong, such as: " in line for line in judge({"planted": record}))


@pytest.mark.parametrize(
    ("grown", "by"),
    [("memory", 5 << 20), ("descriptors", 6), ("threads", 6), ("children", 6), ("greenlets", 70)],
)
def test_what_grows_is_found(grown: str, by: int) -> None:
    more = dataclasses.replace(IDLE, **{grown: getattr(IDLE, grown) + by})
    flat, growing = Record(), Record()
    flat.holdings["echo"] = [IDLE] * 9
    growing.holdings["echo"] = [IDLE] * 5 + [more] * 4
    assert drifts("greenlet", flat) == []
    assert [line.split(":")[1].split()[0] for line in drifts("greenlet", growing)] == [grown]


def test_clients_who_are_never_let_go_are_found() -> None:
    record = Record()
    record.holdings["echo"] = [IDLE, dataclasses.replace(IDLE, open_clients=1)]
    assert any("1 clients never let go" in line for line in drifts("greenlet", record))


def test_broken_connections_are_excused_only_where_children_are_killed_or_files_few() -> None:
    broken = Count(answered=1, broken=["echo 1: cut off"])
    excused, found = Record(), Record()
    excused.add(broken, (resets, few_files))
    found.add(broken, (resets,))
    assert few_files in DESTRUCTIVE
    assert judge({"greenlet": excused}) == []
    assert judge({"greenlet": found}) == ["greenlet: 1 broken, such as: echo 1: cut off"]


def counts(**of_echo: int) -> dict[str, Holding]:
    return {"echo": dataclasses.replace(IDLE, counted=of_echo)}


@pytest.mark.parametrize("name", ["accepted", "bytes_received", "errors", "handshakes_failed"])
def test_what_the_server_has_not_counted_is_found(name: str) -> None:
    sums = Sums("greenlet")
    count = Count(opened={"echo": 2}, sent={"echo": 30})
    told = {"accepted": 2, "bytes_received": 30}
    assert sums.add(counts(**told), count, (resets,)) == []
    # What there was before does not count again.
    assert sums.expected(count, (resets,)) == {"echo": 4}
    told = {"accepted": 4, "bytes_received": 60}
    assert sums.add(counts(**told), count, (resets,)) == []
    told = {"accepted": 6, "bytes_received": 90}
    # Of the two clients' ends, each may be a byte.
    told[name] = told.get(name, 0) + (3 if name == "bytes_received" else 1)
    (line,) = sums.add(counts(**told), count, (resets,))
    assert f" {name}, but " in line
    record = Record(sums=[line])
    record.add(Count(answered=1), (resets,))
    assert judge({"greenlet": record}) == [line]


def test_nobody_tells_what_is_accepted_amid_a_drain() -> None:
    sums, count = Sums("none"), Count(opened={"echo": 2}, sent={"echo": 30})
    assert sums.expected(count, (drained,)) == {}
    assert sums.add(counts(accepted=1), count, (drained,)) == []
    assert sums.add(counts(accepted=3), count, (flood,)) == []


def test_all_faults_are_dealt_before_any_comes_again() -> None:
    faults = faults_for("forking", ("echo", "tls"))
    assert {new_certificate, spoiled_handshakes, drained, stopped_servers} <= set(faults)
    assert set(faults_for("none", ("echo",))) < set(faults)
    deck = Deck(faults, random.Random(1))
    dealt = [fault for _ in faults for fault in deck.deal(1)]
    assert set(dealt) == set(faults)
    for _ in range(20):
        assert len(set(deck.deal(3))) == 3


@pytest.fixture
def tls(tmp_path: Path) -> Tls:
    certificates = Certificates(tmp_path)
    return Tls(certificates.context(), certificates, certificates.path_for("greenlet"))


@pytest.fixture
def tls_fleet(tls: Tls) -> Iterator[Fleet]:
    fleet = Fleet("greenlet", ("tls",), tls.path)
    try:
        yield fleet
    finally:
        assert fleet.stop() == []


@needs_openssl
def test_tls_clients_are_served_beside_spoiled_handshakes_and_counted(
    tls: Tls, tls_fleet: Fleet
) -> None:
    faults = (spoiled_handshakes, new_certificate, crowd)
    count = play_round(tls_fleet, 2.0, faults, ("tls",), tls)
    assert (count.wrong, count.hung, count.broken) == ([], [], [])
    assert count.answered > 0
    assert count.resumed > 0
    assert count.spoiled["tls"] > 100
    sums = Sums("greenlet")
    holdings = tls_fleet.holdings(sums.expected(count, faults))
    assert sums.add(holdings, count, faults) == []
    count.spoiled["tls"] += 1
    assert len(Sums("greenlet").add(holdings, count, faults)) == 1


@needs_openssl
def test_server_that_keeps_its_old_certificate_is_found(
    tls: Tls, tls_fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls_faults, "PATIENCE", 0.2)
    with subprocess.Popen(["sleep", "60"]) as deaf:
        views: Any = {"tls": SimpleNamespace(pid=deaf.pid)}
        scene = Stage(tls_fleet.addresses, views, threading.Event(), tls)
        new_certificate(scene)
    assert scene.count.wrong == ["new clients see the old certificate"]


def test_drained_server_comes_back_and_goes_on_counting() -> None:
    fleet = Fleet("greenlet", ("echo", "udp"))
    try:
        before = play_round(fleet, 0.5, (crowd,), ("echo", "udp"))
        count = play_round(fleet, 0.5, (drained,), ("echo", "udp"))
        accepted = fleet.holdings()["echo"].counted["accepted"]
        assert fleet.errors() == []
    finally:
        assert fleet.stop() == []
    assert (count.wrong, count.hung) == ([], [])
    assert before.opened["echo"] > 100
    assert accepted > before.opened["echo"]


def test_sessions_that_are_never_resumed_are_found() -> None:
    record = Record()
    record.add(Count(answered=1, opened={"tls": 5}), (resets,))
    assert judge({"greenlet": record}) == ["greenlet: no TLS session was resumed"]
