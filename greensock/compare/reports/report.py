"""report.html: the table, the findings and the pictures in one file that needs nothing else.

Made from the same data as result.json, which it also carries, so that the page is an archive.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, Protocol

from greensock.compare.reports.table import APART, CONCLUSIONS, ROWS, flag_kinds
from greensock.compare.results.findings import called
from greensock.compare.results.metrics import METRICS, number
from greensock.compare.results.summary import OF_IDLE, OF_LOAD
from greensock.printable import printable

_STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff;
  max-width: 60rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
p.lead { color: #444; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 0.9rem; }
th, td { padding: 0.25rem 0.75rem; text-align: right; border-bottom: 1px solid #ddd;
  white-space: nowrap; }
th:first-child { text-align: left; white-space: normal; min-width: 6.5rem; position: sticky;
  left: 0; background: #fff; }
td small { display: block; color: #666; }
td.best { font-weight: 600; background: #e6f5ef; }
td.apart { color: #666; }
.flag { color: #8a5a00; } li.failed { color: #b00020; }
figure { margin: 1.5rem 0; break-inside: avoid; overflow-x: auto; }
/* Narrower, its letters could not be read: on a phone it is moved sideways. */
figure svg { width: 100%; min-width: 36rem; height: auto; }
@media (max-width: 40rem) { table { font-size: 0.8rem; } th, td { padding: 0.2rem 0.4rem; } }
pre { white-space: pre-wrap; overflow-wrap: anywhere; font-size: 0.8rem; }
@media print { body { max-width: none; padding: 0; font-size: 10pt; } details { display: none; }
  .scroll, figure { overflow: visible; } table { font-size: 7.5pt; }
  th, td { padding: 0.15rem 0.3rem; } figure svg { min-width: 0; max-height: 11cm; }
  tr { break-inside: avoid; } h2 { break-after: avoid; } }
"""


FIT_ON_A_PAGE = 6  # contenders side by side; more are printed on a sheet that lies on its side


def _text(told: str) -> str:
    """Text as HTML, of which some may be what a server or its clients have said."""
    return escape(printable(told, keep="\n"))


class Picture(Protocol):
    """A picture as the page and the folder need it."""

    @property
    def title(self) -> str: ...

    def svg(self) -> str: ...

    def save(self, folder: Path) -> None: ...


def write_report(result: Mapping[str, Any], pictures: Sequence[Picture], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(page(result, pictures)) + "\n", encoding="utf-8")


def page(result: Mapping[str, Any], pictures: Sequence[Picture]) -> Iterator[str]:
    plan, versions, machine = result["plan"], result["versions"], result["machine"]
    title = f"greensock compare: {plan['target']}"
    sheet = "@page { size: landscape; }" if len(result["summary"]) > FIT_ON_A_PAGE else ""
    yield '<!doctype html><html lang="en"><head><meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    # An icon in the page itself: without one a browser asks the file's server for it.
    yield '<link rel="icon" href="data:,">'
    yield f"<title>{_text(title)}</title><style>{_STYLE}{sheet}</style></head><body>"
    yield f"<h1>{_text(title)}</h1>"
    when = time.strftime("%Y-%m-%d %H:%M %Z", time.localtime(result["started"]))
    yield f'<p class="lead">{_text(describe_load(plan))}<br>{_text(when)}, '
    yield _text(
        f"greensock {versions['greensock']}, gevent {versions['gevent']} ({versions['loop']}), "
        f"locust {versions['locust']}, Python {versions['python']}, "
        f"Linux {machine['kernel']}, {machine['cpus']} CPUs"
    )
    yield "</p>"
    if result["interrupted"]:
        yield "<p><strong>Interrupted: this is what was measured until then.</strong></p>"
    yield from table(result)
    yield from remarks(result)
    yield from since(result.get("against", ()))
    for picture in pictures:
        yield f'<figure role="img" aria-label="{_text(picture.title)}">{picture.svg()}</figure>'
    yield "<details><summary>Options</summary><pre>"
    yield _text(json.dumps(plan, indent=1)) + "</pre></details>"
    # "</script" would end the element wherever it stood, and "<!--" have it end elsewhere.
    data = json.dumps(result).replace("<", "\\u003c")
    yield f'<script type="application/json" id="result">{data}</script>'
    yield "</body></html>"


def describe_load(plan: Mapping[str, Any]) -> str:
    """The load in one sentence."""
    rate = f"{plan['rate']:,.0f} requests/s asked" if plan["rate"] else "in a closed loop"
    seconds = plan["run_time"]
    if plan["own_rate"]:
        rate = "at the locustfile's rate"
    if plan["rate"] is None:
        rate = "at a rising rate"
    if plan["stages"]:
        rate = "at staged rates" if plan["rate"] is not None else rate
        seconds = sum(stage["duration"] for stage in plan["stages"])
    rounds = "one round" if plan["rounds"] == 1 else f"{plan['rounds']} rounds"
    return (
        f"Scenario {plan['scenario']}: {plan['users']:,} users, {rate}, beside {plan['idle']:,} "
        f"idle clients; {rounds} of {seconds:g} s."
    )


def table(result: Mapping[str, Any]) -> Iterator[str]:
    """The table of the terminal. A value that stands out is marked."""
    summaries = [row for row in result["summary"] if row["metrics"]]
    if not summaries:
        return
    heads = "".join(f"<th>{_text(row['contender'])}</th>" for row in summaries)
    yield f'<div class="scroll"><table><thead><tr><th></th>{heads}</tr></thead><tbody>'
    for metric in ROWS:
        if not any(metric in row["metrics"] for row in summaries):
            continue
        finding = result["findings"][metric]
        label = METRICS[metric].label
        if finding["verdict"] == "no difference":
            label += " (no difference)"
        cells = "".join(cell(metric, row, finding) for row in summaries)
        yield f"<tr><th>{_text(label)}</th>{cells}</tr>"
    if any(row["flags"] for row in summaries):
        raised = ("<br>".join(map(_text, flag_kinds(row["flags"]))) for row in summaries)
        cells = "".join(f'<td class="flag">{kinds}</td>' for kinds in raised)
        yield f"<tr><th>flags (see below)</th>{cells}</tr>"
    yield "</tbody></table></div>"
    if any(row["apart"] for row in summaries):
        yield f"<p>{_text(APART)}</p>"


def cell(metric: str, row: Mapping[str, Any], finding: Mapping[str, Any]) -> str:
    figure = row["metrics"].get(metric)
    if figure is None:
        return "<td>-</td>"
    show = METRICS[metric].show
    if row["apart"] and metric in OF_LOAD | OF_IDLE:
        return f"<td class=apart>{show(figure['median'])} *</td>"
    best = row["contender"] in finding["best"] and finding["verdict"] != "no difference"
    spread = ""
    if figure["low"] != figure["high"]:
        spread = f"<small>{show(figure['low'])}-{show(figure['high'])}</small>"
    return f"<td{' class=best' if best else ''}>{show(figure['median'])}{spread}</td>"


def remarks(result: Mapping[str, Any]) -> Iterator[str]:
    """What may be concluded, what could not be done, what casts doubt."""
    findings = [result["findings"][metric] for metric in CONCLUSIONS]
    spoken = [finding["sentence"] for finding in findings if finding["best"]]
    if spoken:
        yield "<h2>Findings</h2><ul>"
        yield from (f"<li>{_text(text)}</li>" for text in spoken)
        yield "</ul>"
    notes = [f"<li>{_text(note)}</li>" for note in result["notes"]]
    for row in result["summary"]:
        name = _text(called(row["contender"]))
        if row["failed"] is not None:
            notes.append(f'<li class="failed">{name} failed: {_text(row["failed"])}</li>')
        notes += [f"<li>{name}: {_text(note)}</li>" for note in row["notes"]]
        notes += [f'<li class="flag">{name}: {_text(flag)}</li>' for flag in row["flags"]]
    for verdict in result["thresholds"]:
        value = "not measured" if verdict["value"] is None else number(verdict["value"])
        kept = "kept" if verdict["ok"] else "crossed"
        text = f"threshold {verdict['expression']} {kept} by {verdict['contender']} ({value})"
        notes.append(f"<li{'' if verdict['ok'] else ' class=failed'}>{_text(text)}</li>")
    if notes:
        yield "<h2>Notes and flags</h2><ul>"
        yield from notes
        yield "</ul>"


def since(changes: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What changed since the run that --against names."""
    told = [change for change in changes if change["verdict"] != "no difference"]
    if not changes:
        return
    yield "<h2>Since the earlier run</h2>"
    if told:
        yield '<div class="scroll"><table><thead><tr><th></th><th></th><th>before</th><th>now</th>'
        yield "<th></th></tr></thead><tbody>"
        for change in told:
            metric = METRICS[change["metric"]]
            cells = (
                _text(metric.label),
                metric.show(change["before"]["median"]),
                metric.show(change["now"]["median"]),
                _text(change["verdict"]),
            )
            row = "".join(f"<td>{cell}</td>" for cell in cells)
            yield f"<tr><th>{_text(change['contender'])}</th>{row}</tr>"
        yield "</tbody></table></div>"
    yield f"<p>No difference in {len(changes) - len(told)} of {len(changes)} figures.</p>"
