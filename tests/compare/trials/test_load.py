"""From the collector's seconds to a trial's figures."""

from greensock.compare.trials.load import choose_window, reduce_load
from greensock.compare.trials.rate_search import judge_steps
from greensock.loadtest.schedule import Stage


def results(seconds, marks=None):
    return {
        "marks": marks or {"start": 99.0, "spawned": 100.2, "stopping": 110.5},
        "seconds": seconds,
        "errors": {},
        "counters": {},
        "exceptions": [],
        "generators": {
            "one": {
                "gen": [[t, 0.2 * t, 0.1 * t] for t in range(90, 200)],
                "lag": [[t, 2.0] for t in range(90, 200)],
            }
        },
    }


def test_the_window_is_whole_seconds_between_warm_and_stopping():
    marks = {"start": 99.0, "spawned": 100.2, "stopping": 110.5}
    assert choose_window(marks, warmup=1.0, seconds=4) == range(102, 106)
    assert choose_window(marks, warmup=1.0, seconds=20) == range(102, 110)
    assert len(choose_window(marks, warmup=30.0, seconds=4)) == 0
    assert len(choose_window({}, warmup=1.0, seconds=4)) == 0


def test_only_the_window_is_counted_and_connects_only_when_they_fail():
    load = reduce_load(
        results(
            [
                [101, "exchange", 50, 0, 1, 1, [[900.0, 50]]],
                [102, "exchange", 98, 1, 1, 640, [[1.0, 90], [5.0, 8]]],
                [103, "exchange", 2, 0, 1, 10, [[9.0, 2]]],
                [103, "connect", 7, 3, 1, 0, [[70.0, 7]]],
                [104, "exchange", 50, 0, 1, 1, [[900.0, 50]]],
            ]
        ),
        range(102, 104),
    )
    assert (load.requests, load.failures, load.rps) == (100, 4, 50.0)
    assert (load.p50, load.p95, load.p99, load.max) == (1.0, 5.0, 9.0, 9.0)
    assert load.received_bytes == 650
    assert [(row.t, row.requests) for row in load.seconds] == [(102, 98), (103, 2)]


def test_a_load_without_a_request_has_no_percentile():
    load = reduce_load(results([]), range(102, 104))
    assert (load.requests, load.p50, load.rps) == (0, None, 0.0)


def steps(*rates_and_times):
    """One row per second of 4-second steps: the rate that was reached, and its p99."""
    return [
        [101 + 4 * number + second, "exchange", rate, 0, 1, 1, [[ms, rate]]]
        for number, (rate, ms) in enumerate(rates_and_times)
        for second in range(4)
    ]


STAGES = (Stage(4, 1000), Stage(4, 1300), Stage(4, 1690))
MARKS = {"start": 100.0, "spawned": 100.5, "stopping": 200.0}


def search(rows):
    return judge_steps(results(rows, MARKS), STAGES, lead_in=1.0, processes=1)


def test_the_search_ends_at_the_first_rate_that_is_missed():
    found, load = search(steps((1000, 1.0), (1290, 2.0), (1400, 3.0)))
    assert found.best is not None
    assert (found.best.asked, found.limit, load.rps) == (1300, "contender", 1290)
    assert [step.held for step in found.steps] == [True, True, False]


def test_a_slow_answer_ends_the_search_too():
    found, _ = search(steps((1000, 1.0), (1300, 150.0), (1690, 150.0)))
    assert found.best is not None
    assert found.best.asked == 1000


def test_holding_every_step_means_that_the_generator_is_the_limit():
    found, load = search(steps((1000, 1.0), (1300, 1.0), (1690, 1.0)))
    assert (found.limit, load.rps) == ("generator", 1690)


def test_a_contender_that_holds_no_step_has_no_best():
    found, _ = search(steps((500, 1.0), (500, 1.0), (500, 1.0)))
    assert found.best is None
    assert found.limit == "contender"
