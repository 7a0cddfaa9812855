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

from greensock.compare.findings import called
from greensock.compare.metrics import METRICS, number
from greensock.compare.table import CONCLUSIONS, ROWS

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
th:first-child { text-align: left; }
td small { display: block; color: #666; }
td.best { font-weight: 600; background: #e6f5ef; }
li.flag { color: #8a5a00; } li.failed { color: #b00020; }
figure { margin: 1.5rem 0; break-inside: avoid; }
figure svg { width: 100%; height: auto; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; font-size: 0.8rem; }
@media print { body { max-width: none; padding: 0; font-size: 11pt; } details { display: none; } }
"""


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
    yield '<!doctype html><html lang="en"><head><meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    # An icon in the page itself: without one a browser asks the file's server for it.
    yield '<link rel="icon" href="data:,">'
    yield f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>"
    yield f"<h1>{escape(title)}</h1>"
    when = time.strftime("%Y-%m-%d %H:%M %Z", time.localtime(result["started"]))
    yield f'<p class="lead">{escape(describe_load(plan))}<br>{escape(when)}, '
    yield escape(
        f"greensock {versions['greensock']}, gevent {versions['gevent']}, "
        f"locust {versions['locust']}, Python {versions['python']}, "
        f"Linux {machine['kernel']}, {machine['cpus']} CPUs"
    )
    yield "</p>"
    if result["interrupted"]:
        yield "<p><strong>Interrupted: this is what was measured until then.</strong></p>"
    yield from table(result)
    yield from remarks(result)
    for picture in pictures:
        yield f'<figure role="img" aria-label="{escape(picture.title)}">{picture.svg()}</figure>'
    yield "<details><summary>Options</summary><pre>"
    yield escape(json.dumps(plan, indent=1)) + "</pre></details>"
    # "</" would end the element wherever it stood.
    data = json.dumps(result).replace("</", "<\\/")
    yield f'<script type="application/json" id="result">{data}</script>'
    yield "</body></html>"


def describe_load(plan: Mapping[str, Any]) -> str:
    """The load in one sentence."""
    rate = f"{plan['rate']:,.0f} requests/s asked" if plan["rate"] else "in a closed loop"
    if plan["rate"] is None:
        rate = "at a rising rate"
    if plan["stages"]:
        rate = "at staged rates"
    return (
        f"Scenario {plan['scenario']}: {plan['users']:,} users, {rate}, beside {plan['idle']:,} "
        f"idle clients; {plan['rounds']} rounds of {plan['run_time']:g} s."
    )


def table(result: Mapping[str, Any]) -> Iterator[str]:
    """The table of the terminal. A value that stands out is marked."""
    summaries = result["summary"]
    heads = "".join(f"<th>{escape(row['contender'])}</th>" for row in summaries)
    yield f'<div class="scroll"><table><thead><tr><th></th>{heads}</tr></thead><tbody>'
    for metric in ROWS:
        if not any(metric in row["metrics"] for row in summaries):
            continue
        finding = result["findings"][metric]
        label = METRICS[metric].label
        if finding["verdict"] == "no difference":
            label += " (no difference)"
        cells = "".join(cell(metric, row, finding) for row in summaries)
        yield f"<tr><th>{escape(label)}</th>{cells}</tr>"
    yield "</tbody></table></div>"


def cell(metric: str, row: Mapping[str, Any], finding: Mapping[str, Any]) -> str:
    figure = row["metrics"].get(metric)
    if figure is None:
        return "<td>-</td>"
    show = METRICS[metric].show
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
        yield from (f"<li>{escape(text)}</li>" for text in spoken)
        yield "</ul>"
    notes: list[str] = []
    for row in result["summary"]:
        name = escape(called(row["contender"]))
        if row["failed"] is not None:
            notes.append(f'<li class="failed">{name} failed: {escape(row["failed"])}</li>')
        notes += [f"<li>{name}: {escape(note)}</li>" for note in row["notes"]]
        notes += [f'<li class="flag">{name}: {escape(flag)}</li>' for flag in row["flags"]]
    for verdict in result["thresholds"]:
        value = "not measured" if verdict["value"] is None else number(verdict["value"])
        kept = "kept" if verdict["ok"] else "crossed"
        text = f"threshold {verdict['expression']} {kept} by {verdict['contender']} ({value})"
        notes.append(f"<li{'' if verdict['ok'] else ' class=failed'}>{escape(text)}</li>")
    if notes:
        yield "<h2>Notes and flags</h2><ul>"
        yield from notes
        yield "</ul>"
