"""The pictures and the page, from figures that are made up."""

import json
import re
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from io import StringIO

import pytest
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.text import Text
from rich.console import Console

from greensock.compare.planning.contenders import MIXINS, PEERS
from greensock.compare.planning.plan import Plan
from greensock.compare.reports.figures import STYLE
from greensock.compare.reports.plots import pictures
from greensock.compare.reports.report import page, write_report
from greensock.compare.reports.table import print_results
from greensock.compare.results.findings import judge_all
from greensock.compare.results.result import build_result
from greensock.compare.results.summary import summarise
from greensock.compare.trials.load import Load, Second
from greensock.compare.trials.rate_search import RateSearch, Step
from greensock.compare.trials.rounds import Comparison, order
from greensock.compare.trials.trial import Idle, Trial
from greensock.compare.under_test.sampling import Sample


@pytest.fixture(scope="module", autouse=True)
def _fonts():
    """matplotlib keeps the files of fonts open that it has once used."""
    with rc_context(STYLE):
        figure = Figure()
        figure.suptitle("title", fontweight="bold")
        figure.text(0.5, 0.5, "text")
        figure.savefig(StringIO(), format="svg")


def sample(t, cpu, pss):
    return Sample(t, cpu, 1, 2, 0.2 * t, 0.0, 0.0, 0.0, 1.0, pss=pss, kernel=10_000)


def trial(name, round_number, speed):
    """A trial whose times and sizes are `speed` times those of another."""
    times = [[speed * ms, 300] for ms in (0.2, 0.5, 1.0, 9.0)]
    seconds = [Second(t, 300, 0, 0.5 * speed, 9.0 * speed) for t in range(105, 109)]
    load = Load((105.0, 109.0), 1200, 0, 300.0, 0.5 * speed, 9.0 * speed, 9.0 * speed)
    load.p999 = load.max = 9.0 * speed
    load.seconds, load.histogram = seconds, times
    return Trial(
        name,
        round_number,
        100.0,
        phases={"base": sample(101, 0, 10 << 20), "idle": sample(102, 0, 12 << 20)},
        samples=[sample(t, 0.1 * speed * (t - 103), 13 << 20) for t in range(103, 111)],
        idle=Idle(100, 100, bytes_per_client=900.0 * speed, kernel_bytes_per_client=5.0),
        load=load,
        notes=["</script><!--<script><b>&", "\x1b[2J\u202etitle"],
    )


def make_comparison(kind):
    plan = Plan(contenders=("greenlet", "threading"), rate=300.0, rounds=2, idle=100)
    if kind == "max":
        plan = Plan(contenders=plan.contenders, rate=None, rounds=2)
    if kind == "many":
        plan = replace(plan, contenders=MIXINS + PEERS)
    done = Comparison(plan, started=0.0)
    for round_number, name in order(plan):
        one = trial(name, round_number, 3.0 if name == "threading" and kind != "equal" else 1.0)
        if kind == "apart" and name == "threading":
            one.idle.held, one.idle.let_go = 40, True
        if kind == "max":
            one.search = RateSearch([Step(1000, 999, 0.5, 1.0, 20, True)], "generator")
        if kind == "failed" and name == "threading":
            one = Trial(name, round_number, 100.0, failed="the server did not start: <reason>")
        done.trials.append(one)
    return done


@pytest.fixture(scope="module", params=["rate", "max", "failed", "equal", "apart", "many"])
def drawn(request, _fonts):
    """(result, pictures) of a comparison; each picture is drawn once."""
    comparison = make_comparison(request.param)
    summaries = summarise(comparison)
    findings = judge_all(summaries)
    result = build_result(comparison, summaries, findings, [])
    return result, list(pictures(comparison, summaries, findings))


def test_every_picture_is_a_well_formed_svg_whose_title_is_in_it(drawn):
    _, plots = drawn
    assert {"overview", "percentiles", "memory_over_time"} <= {plot.name for plot in plots}
    for plot in plots:
        root = ElementTree.fromstring(plot.svg())
        said = " ".join(text.strip() for text in root.itertext() if text.strip())
        assert plot.title.split()[-1] in said


def test_all_that_is_written_in_a_picture_is_within_it(drawn):
    _, plots = drawn
    for plot in plots:
        with rc_context(STYLE):
            figure = plot.figure
            figure.canvas.draw()
            # Other fonts may be a little wider.
            edge = figure.bbox.padded(1)
            # Of those at the ticks, the ones beyond the axes are not drawn.
            ticks = {
                id(text)
                for axes in figure.axes
                for axis in (axes.xaxis, axes.yaxis)
                for text in axis.get_ticklabels(which="both")
            }
            for text in figure.findobj(Text):
                if text.get_visible() and text.get_text().strip() and id(text) not in ticks:
                    box = text.get_window_extent()
                    assert edge.x0 <= box.x0, (plot.name, text)
                    assert box.x1 <= edge.x1, (plot.name, text)
                    assert edge.y0 <= box.y0, (plot.name, text)
                    assert box.y1 <= edge.y1, (plot.name, text)


def test_who_had_no_idle_clients_is_set_apart(drawn):
    result, _ = drawn
    rows = {row["contender"]: row for row in result["summary"]}
    marked = "\n".join(page(result, [])).count("class=apart>")
    if not any(row["apart"] for row in rows.values()):
        assert not marked
        return
    assert rows["threading"]["apart"]
    assert marked > 5
    for metric in ("p99", "cpu_s_per_1000", "kib_per_idle"):
        assert "threading" not in result["findings"][metric]["best"]
        assert "with threading" not in result["findings"][metric]["sentence"]
    assert any("measured without idle clients" in flag for flag in rows["threading"]["flags"])


@pytest.mark.parametrize("kind", ["apart", "rate"])
def test_table_says_so_too(kind):
    summaries = summarise(comparison := make_comparison(kind))
    console = Console(file=StringIO(), width=120)
    print_results(console, summaries, judge_all(summaries), comparison.plan)
    said = console.file.getvalue()
    assert (" *" in said) is (kind == "apart")
    assert ("* measured without idle clients" in said) is (kind == "apart")
    assert "\x1b[2J" not in said
    assert "\u202e" not in said


def test_nothing_measured_is_no_empty_table():
    comparison = make_comparison("rate")
    comparison.trials = [Trial(name, 1, 100.0, failed="why") for name in ("greenlet", "threading")]
    summaries = summarise(comparison)
    console = Console(file=StringIO(), width=120)
    print_results(console, summaries, judge_all(summaries), comparison.plan)
    lines = console.file.getvalue().splitlines()
    assert not any("━" in line for line in lines)
    assert "greenlet failed: why" in lines
    whole = "\n".join(page(build_result(comparison, summaries, judge_all(summaries), []), []))
    assert "<table" not in whole


def test_the_finding_is_the_title(drawn):
    result, plots = drawn
    titles = {plot.name: plot.title for plot in plots}
    if result["findings"]["kib_per_idle"]["best"] == ("greenlet",):
        expected = "greenlet needs the least memory per idle client: 0.879 against 2.64 KiB"
        assert titles["memory_per_idle_client"].startswith(expected)


def test_the_page_needs_nothing_else_and_carries_its_data(drawn, tmp_path):
    result, plots = drawn
    path = tmp_path / "report.html"
    write_report(result, plots, path)
    page = path.read_text()
    assert not re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?https?:""", page)
    assert page.count("<svg") == len(plots)
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len([one for one in ids if "clip" in one]) == len({one for one in ids if "clip" in one})
    data = re.search(r'<script type="application/json" id="result">(.*?)</script>', page, re.DOTALL)
    assert data is not None
    assert json.loads(data[1]) == json.loads(json.dumps(result))


@pytest.mark.parametrize("drawn", ["rate"], indirect=True)
@pytest.mark.skipif(shutil.which("chromium") is None, reason="no Chromium here")
def test_chromium_opens_the_page_without_a_console_message(drawn, tmp_path):
    result, plots = drawn
    write_report(result, plots, tmp_path / "report.html")
    done = subprocess.run(
        [
            "chromium",
            *("--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0"),
            *("--dump-dom", f"--user-data-dir={tmp_path / 'profile'}"),
            (tmp_path / "report.html").as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert "</html>" in done.stdout
    assert "CONSOLE" not in done.stderr
