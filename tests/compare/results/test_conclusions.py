"""Figures to verdicts: medians, ranges, thresholds, and what may not be said."""

import pytest

from greensock.arguments.usage import UsageError
from greensock.compare.results.against import changes, judge_change, read_result
from greensock.compare.results.findings import judge
from greensock.compare.results.metrics import METRICS
from greensock.compare.results.summary import Figure, Summary
from greensock.compare.results.thresholds import check_thresholds, parse_threshold


def row(name, rounds=3, flags=(), failed=None, **metrics):
    figures = {metric: Figure(*values) for metric, values in metrics.items()}
    return Summary(name, rounds, figures, list(flags), [], failed)


def verdict(*rows, metric="p99"):
    return judge(METRICS[metric], rows)


def test_ranges_apart_and_medians_a_tenth_apart_are_a_difference():
    finding = verdict(row("greenlet", p99=(1, 0.9, 1.1)), row("threading", p99=(3, 2.5, 4)))
    assert finding.best == ("greenlet",)
    assert "greenlet has the shortest p99: 1.00 against 3.00 ms with threading" in finding.sentence


def test_touching_ranges_are_no_difference():
    finding = verdict(row("greenlet", p99=(1, 0.9, 2.6)), row("threading", p99=(3, 2.5, 4)))
    assert finding.verdict == "no difference"


def test_a_few_percent_are_no_difference_however_narrow_the_ranges():
    finding = verdict(row("greenlet", p99=(1, 1, 1)), row("threading", p99=(1.05, 1.05, 1.05)))
    assert finding.verdict == "no difference"


def test_the_best_are_several_when_nothing_sets_them_apart():
    finding = verdict(
        row("greenlet", p99=(1, 0.9, 1.1)),
        row("none", p99=(1.05, 0.9, 1.2)),
        row("forking", p99=(9, 8, 10)),
    )
    assert finding.best == ("greenlet", "none")
    expected = "shortest p99: greenlet and no mixin (no difference), 1.00 ms; next is forking, 9.00"
    assert finding.sentence.startswith(expected)


def test_one_round_gives_no_verdict():
    rows = (row("greenlet", 1, p99=(1, 1, 1)), row("threading", 1, p99=(9, 9, 9)))
    assert verdict(*rows).best == ()
    assert "no verdict" in verdict(*rows).sentence


def test_times_at_a_missed_rate_are_not_compared():
    slow = row("forking", flags=["rate missed (round 1: 80 % of it)"], p99=(0.1, 0.1, 0.1))
    rows = (row("greenlet", p99=(1, 1, 1)), row("none", p99=(3, 3, 3)), slow)
    assert verdict(*rows).best == ("greenlet",)


def test_times_taken_on_a_disturbed_machine_are_called_doubtful():
    disturbed = row("none", flags=["machine disturbed (round 1: steal 9 %)"], p99=(3, 3, 3))
    assert "doubtful" in verdict(row("greenlet", p99=(1, 1, 1)), disturbed).sentence
    assert (
        "doubtful"
        not in verdict(row("greenlet", p99=(1, 1, 1)), row("none", p99=(3, 3, 3))).sentence
    )


def test_more_is_better_for_rates():
    rows = (row("greenlet", rps=(900, 890, 910)), row("none", rps=(500, 490, 510)))
    assert verdict(*rows, metric="rps").best == ("greenlet",)


def test_thresholds_hold_for_all_or_for_one_contender():
    rows = [row("greenlet", p99=(1, 1, 1)), row("none", p99=(60, 60, 60))]
    names = ["greenlet", "none"]
    everyone = check_thresholds([parse_threshold("p99<50", names)], rows)
    assert [(one.contender, one.ok) for one in everyone] == [("greenlet", True), ("none", False)]
    one = check_thresholds([parse_threshold("greenlet:p99 <= 1", names)], rows)
    assert [(found.contender, found.ok) for found in one] == [("greenlet", True)]


def test_what_was_not_measured_keeps_no_threshold():
    limit = parse_threshold("kib_per_idle<2", ["none"])
    assert not check_thresholds([limit], [row("none")])[0].ok


@pytest.mark.parametrize("text", ["p99", "p98<5", "p99=5", "fibre:p99<5", "p99<1.2.3"])
def test_a_wrong_threshold_is_refused(text):
    with pytest.raises(UsageError, match="--threshold"):
        parse_threshold(text, ["greenlet"])


def test_a_change_is_one_only_outside_both_ranges():
    assert judge_change(Figure(1, 0.9, 1.1), Figure(2, 1.8, 2.2), "low", 3, 3) == "worse"
    assert judge_change(Figure(1, 0.9, 1.1), Figure(2, 1.8, 2.2), "high", 3, 3) == "better"
    assert judge_change(Figure(1, 0.9, 1.9), Figure(2, 1.8, 2.2), "low", 3, 3) == "no difference"
    assert judge_change(Figure(1, 1, 1), Figure(2, 2, 2), "low", 1, 3) == "one round"


def test_changes_are_told_for_contenders_in_both_runs():
    old = {"summary": [row("greenlet", p99=(1, 0.9, 1.1)).as_json()]}
    found = changes(old, [row("greenlet", p99=(4, 3.9, 4.1)), row("none", p99=(1, 1, 1))])
    assert [(one.contender, one.metric, one.verdict) for one in found] == [
        ("greenlet", "p99", "worse")
    ]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": 2, "summary": []}'])
def test_against_wants_a_result(tmp_path, text):
    path = tmp_path / "old.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"old\.json"):
        read_result(str(path))
