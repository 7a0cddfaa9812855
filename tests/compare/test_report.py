"""The pictures and the page, from figures that are made up."""

import json
import re
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from io import StringIO

import pytest
from matplotlib import rc_context
from matplotlib.figure import Figure

from greensock.compare.figures import STYLE
from greensock.compare.findings import judge_all
from greensock.compare.load import Load, Second
from greensock.compare.plan import Plan
from greensock.compare.plots import pictures
from greensock.compare.rate_search import RateSearch, Step
from greensock.compare.report import write_report
from greensock.compare.result import build_result
from greensock.compare.rounds import Comparison, order
from greensock.compare.sampling import Sample
from greensock.compare.summary import summarise
from greensock.compare.trial import Idle, Trial


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
        notes=["</script><b>&"],
    )


def make_comparison(kind):
    plan = Plan(contenders=("greenlet", "threading"), rate=300.0, rounds=2, idle=100)
    if kind == "max":
        plan = Plan(contenders=plan.contenders, rate=None, rounds=2)
    done = Comparison(plan, started=0.0)
    for round_number, name in order(plan):
        one = trial(name, round_number, {"greenlet": 1.0, "threading": 3.0}[name])
        if kind == "max":
            one.search = RateSearch([Step(1000, 999, 0.5, 1.0, 20, True)], "generator")
        if kind == "failed" and name == "threading":
            one = Trial(name, round_number, 100.0, failed="the server did not start: <reason>")
        done.trials.append(one)
    return done


@pytest.fixture(scope="module", params=["rate", "max", "failed"])
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


def test_the_finding_is_the_title(drawn):
    result, plots = drawn
    titles = {plot.name: plot.title for plot in plots}
    if all(row["failed"] is None for row in result["summary"]):
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
