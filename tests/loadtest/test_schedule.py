from __future__ import annotations

import random
import statistics
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greensock.loadtest.schedule import NEVER, RateCurve, Schedule, Stage, parse_stages


class Clock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class User:
    """What a schedule needs of a locust user."""

    due: float | None = None


def run_user(
    schedule: Schedule, clock: Clock, service: Callable[[float], float], seconds: float
) -> list[tuple[float, float | None, float]]:
    """(begin, due, time as it is measured) of each request of one user, without a real clock."""
    user, requests, end = User(), [], clock.now + seconds
    while True:
        clock.now += schedule.next_wait(user)
        if clock.now >= end:
            return requests
        begin = clock.now
        clock.now += service(begin)
        timed_from = begin if user.due is None else user.due
        requests.append((begin, user.due, clock.now - timed_from))


def make(clock: Clock, *arguments: float, **options: object) -> Schedule:
    return Schedule(*arguments, clock=clock, random=random.Random(7), **options)  # type: ignore[arg-type]


def test_constant_arrivals_are_evenly_spaced_and_never_due_late() -> None:
    clock = Clock()
    requests = run_user(make(clock, 10.0), clock, lambda _: 0.01, 5.0)
    begins = [begin for begin, _, _ in requests]
    gaps = [after - before for before, after in pairwise(begins)]
    assert gaps == pytest.approx([0.1] * len(gaps))
    assert len(requests) in (50, 49)
    assert [due for _, due, _ in requests] == [None] * len(requests)


def test_a_stall_loses_no_arrival_and_is_timed_from_the_intended_start() -> None:
    clock = Clock()

    def stalls_once(begin: float) -> float:
        return 1.0 if 1002.0 <= begin < 1002.1 else 0.001

    requests = run_user(make(clock, 10.0), clock, stalls_once, 5.0)
    assert len(requests) in (50, 49)
    late = [time for _, due, time in requests if due is not None]
    # Nine or ten arrivals fell into the stalled second; they waited from 0.9 s down to nothing.
    assert len(late) in (9, 10)
    assert late == sorted(late, reverse=True)
    assert late[0] == pytest.approx(0.901)
    gaps = [first - second for first, second in pairwise(late)]
    assert gaps == pytest.approx([0.099] * len(gaps))


def test_a_server_too_slow_for_the_rate_shows_in_ever_longer_times() -> None:
    clock = Clock()
    times = [time for _, _, time in run_user(make(clock, 10.0), clock, lambda _: 0.2, 20.0)]
    assert times == sorted(times)
    assert times[-1] == pytest.approx(0.2 + 0.1 * (len(times) - 1))


def test_users_begin_out_of_step() -> None:
    clock = Clock()
    schedule = make(clock, 10.0)
    phases = [schedule.next_wait(User()) for _ in range(200)]
    assert 0 <= min(phases) < 0.01
    assert 0.09 < max(phases) < 0.1
    assert statistics.fmean(phases) == pytest.approx(0.05, abs=0.01)


def test_poisson_gaps_are_exponential() -> None:
    clock = Clock()
    requests = run_user(make(clock, 10.0, arrivals="poisson"), clock, lambda _: 0.0, 500.0)
    begins = [begin for begin, _, _ in requests]
    gaps = [after - before for before, after in pairwise(begins)]
    assert statistics.fmean(gaps) == pytest.approx(0.1, rel=0.05)
    assert statistics.stdev(gaps) == pytest.approx(0.1, rel=0.1)


def test_rate_is_shared_by_the_users_there_are() -> None:
    clock = Clock()
    users = 4
    schedule = make(clock, 100.0, shared_by=lambda _: users)
    user = User()
    schedule.next_wait(user)
    assert schedule.next_wait(user) - schedule.next_wait(User()) >= 0
    waits = [schedule.next_wait(user) for _ in range(3)]
    assert waits[2] - waits[1] == pytest.approx(0.04)
    users = 8
    assert schedule.next_wait(user) - waits[2] == pytest.approx(0.08)


def test_stages_change_the_rate_when_they_should() -> None:
    clock = Clock()
    schedule = make(clock, stages=[Stage(10, 5), Stage(10, 50), Stage(10, 50, 0)])
    begins = [begin - 1000 for begin, _, _ in run_user(schedule, clock, lambda _: 0.0, 60.0)]
    steps = [sum(begin // 10 == step for begin in begins) for step in range(4)]
    assert steps == [pytest.approx(expected, abs=1) for expected in (50, 500, 250, 0)]


def test_no_more_arrivals_means_a_wait_to_the_end() -> None:
    clock = Clock()
    schedule = make(clock, stages=[Stage(1, 1, 0)])
    user = User()
    clock.now += 2
    waits = [schedule.next_wait(user) for _ in range(3)]
    assert waits[-1] == NEVER


def test_rate_zero_is_a_closed_loop() -> None:
    clock = Clock()
    user = User()
    assert [make(clock, 0.0).next_wait(user) for _ in range(3)] == [0.0, 0.0, 0.0]
    assert user.due is None


def test_restart_begins_again_at_the_first_stage() -> None:
    clock = Clock()
    schedule = make(clock, stages=[Stage(10, 1), Stage(10, 100)])
    user = User()
    schedule.next_wait(user)
    clock.now += 15
    schedule.restart()
    assert 0 <= schedule.next_wait(user) < 1
    assert schedule.next_wait(user) >= 1


def test_in_a_class_it_is_called_with_its_user() -> None:
    class Paced(User):
        wait_time = Schedule(10.0)

    first, second = Paced(), Paced()
    assert 0 <= first.wait_time() < 0.1
    assert first.wait_time() >= 0.1
    assert 0 <= second.wait_time() < 0.1


RATES = st.one_of(st.just(0.0), st.floats(0.001, 1000))


@given(
    st.lists(
        st.builds(Stage, st.floats(0.01, 100), RATES, st.one_of(st.none(), RATES)),
        min_size=1,
        max_size=5,
    ),
    st.one_of(st.just(0.0), st.floats(0.001, 100_000)),
)
def test_seconds_are_the_inverse_of_arrivals(stages: list[Stage], arrivals: float) -> None:
    curve = RateCurve(stages)
    seconds = curve.seconds(arrivals)
    if seconds < 1e9:
        assert curve.arrivals(seconds) == pytest.approx(arrivals, rel=1e-5, abs=1e-5)


def test_stages_are_read_from_text() -> None:
    assert parse_stages("10s:1000, 500ms:10-20,2m:5,1h:0.5,7:1") == (
        Stage(10, 1000),
        Stage(0.5, 10, 20),
        Stage(120, 5),
        Stage(3600, 0.5),
        Stage(7, 1),
    )


@pytest.mark.parametrize("text", ["", "10s", "10s:", "10s:a", "0s:5", "1.2.3s:5", "10s:-5", "x:1"])
def test_other_texts_are_no_stages(text: str) -> None:
    with pytest.raises(ValueError, match="stages must look like 10s:1000,10s:1000-4000"):
        parse_stages(text)


@pytest.mark.parametrize("rate", [-1.0, float("inf"), float("nan")])
def test_rate_must_be_a_number_of_at_least_zero(rate: float) -> None:
    with pytest.raises(ValueError, match="rate must be a number of at least 0, not"):
        Schedule(rate)


def test_arrivals_must_be_a_known_kind() -> None:
    with pytest.raises(ValueError, match='arrivals must be "constant" or "poisson", not'):
        Schedule(1.0, arrivals="uniform")
