"""What the user asked for, understood or refused in one line."""

import argparse

import pytest

from greensock.arguments.usage import UsageError
from greensock.compare.planning.options import add_options, understand


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def plan_for(*arguments, open_files=20_000):
    parser = argparse.ArgumentParser()
    add_options(parser)
    return understand(parser.parse_args(arguments), open_files)


def test_defaults_are_a_comparison_of_under_three_minutes():
    plan, output = plan_for()
    assert plan.contenders == ("greenlet", "threading", "forking", "none")
    assert (plan.target, plan.idle, plan.expect) == ("greensock.examples:Echo", 2000, "same")
    assert plan.estimate() < 180
    assert str(output.folder) == "greensock-report"


def test_a_target_of_ones_own_is_asked_line_by_line():
    plan, _ = plan_for("app.py:Handler")
    assert (plan.target, plan.scenario, plan.expect) == ("app.py:Handler", "line", "line")


def test_pyproject_fills_in_what_the_command_line_leaves_out(tmp_path):
    (tmp_path / "pyproject.toml").write_text(
        "[tool.greensock.compare]\n"
        'target = "app.py:Handler"\nrounds = 5\nidle = 7\nmixins = ["greenlet", "none"]\n'
        'threshold = ["p99<50", "p50<5"]\nno-plots = true\nrun-time = "2s"\n'
    )
    plan, output = plan_for("--idle", "9")
    assert (plan.target, plan.rounds, plan.idle) == ("app.py:Handler", 5, 9)
    assert plan.contenders == ("greenlet", "none")
    assert plan.thresholds == ("p99<50", "p50<5")
    assert plan.run_time == 2.0
    assert not output.plots


@pytest.mark.parametrize(
    ("section", "word"), [("idel = 3", "idel"), ("idle = -3", "idle"), ("idle = [", "pyproject")]
)
def test_a_mistake_in_pyproject_is_named(tmp_path, section, word):
    (tmp_path / "pyproject.toml").write_text(f"[tool.greensock.compare]\n{section}\n")
    with pytest.raises(UsageError, match=word):
        plan_for()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--mixins", "greenlet,fibre"], "'fibre'"),
        (["--scenario", "nonesuch"], "nonesuch"),
        (["--scenario", "custom"], "--locustfile"),
        (["--locustfile", "missing.py"], "no such file"),
        (["--rate", "-1"], "--rate must be"),
        (["--rate", "fast"], "--rate must be"),
        (["--stages", "10s"], "--stages must look like"),
        (["--mixins", ""], "--mixins must name some of"),
        (["--expect", "regex:("], r"--expect regex:\(:"),
        (["--program", '-m x "{port}'], "--program: No closing quotation"),
        (["--stages", "1s:5", "--rate", "3"], "--stages replaces --rate"),
        (["--expect", "word"], "--expect must be"),
        (["--pin", "0"], "--pin must be"),
        (["--pin", "0:4095"], "4095"),
        (["--idle", "19990"], "--idle must be at most 19886, not 19990"),
        (["--scenario", "udp", "--idle", "5"], "UDP"),
    ],
)
def test_a_wrong_option_is_refused_with_its_name(arguments, message):
    with pytest.raises(UsageError, match=message):
        plan_for(*arguments)


def test_stages_replace_the_rate_and_the_run_time():
    plan, _ = plan_for("--stages", "10s:100,5s:100-400", "--warmup", "1s", "--users", "100")
    assert plan.load_seconds() == 15
    assert plan.target_rate() == pytest.approx((1000 + 1250) / 15)
    # A lead-in at the first rate, while users come (1 s) and warm up (1 s).
    assert plan.staged().startswith("2.000s:100.000-100.000,10.000s:")


def test_bounds_reach_only_the_mixin_that_has_them():
    from greensock.compare.planning.contenders import Contender

    plan, _ = plan_for("--max-children", "90", "--max-threads", "8", "--set", "timeout=3")
    assert plan.server_settings(Contender("forking")) == ["max_children=90", "timeout=3"]
    assert plan.server_settings(Contender("threading")) == ["max_threads=8", "timeout=3"]
    assert plan.server_settings(Contender("none")) == ["timeout=3"]
