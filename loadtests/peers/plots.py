"""Two pictures: bytes per idle client, and echo throughput against the number of idle clients."""

import textwrap
from pathlib import Path
from typing import Any

from .results import Results

OURS, PEERS, LIMIT = "#1b7f4b", "#8a8f98", "#333333"

# Bytes. A child process per client takes a hundred times what the next contender does; drawn on one
# scale, it would leave all the others without a visible length.
LONGEST_BAR = 100_000


def draw(results: Results, folder: Path) -> list[Path]:
    """Write the plots whose measures have figures, as PNG; return their paths."""
    import matplotlib  # slow to import, and needed only where plots are asked for

    matplotlib.use("Agg")
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    if results.samples.get("idle"):
        paths.append(_bytes_per_client(results, folder / "bytes-per-idle-client.png"))
    if results.samples.get("echo-beside-idle"):
        paths.append(_echo_beside_idle(results, folder / "echo-beside-idle.png"))
    return paths


def _colour(name: str) -> str:
    if name.startswith("greensock"):
        return OURS
    return LIMIT if name == "epoll" else PEERS


def _finish(figure: Any, results: Results, path: Path) -> Path:
    head = results.head
    versions = ", ".join(f"{name} {version}" for name, version in head["versions"].items())
    figure.text(0.01, 0.005, f"{head['date']}  {head['machine']}; {versions}", fontsize=7)
    figure.tight_layout(rect=(0, 0.03, 1, 1))
    figure.savefig(path, dpi=144)
    return path


def _bytes_per_client(results: Results, path: Path) -> Path:
    """Horizontal bars from zero, the smallest on top, all on one scale."""
    import matplotlib.pyplot as plt

    bars = sorted(
        ((value, name) for name, value in _medians(results, "idle", "bytes_per_client")),
        reverse=True,
    )
    beyond = [f"{name} {value:,.0f}" for value, name in bars if value > LONGEST_BAR]
    bars = [bar for bar in bars if bar[0] <= LONGEST_BAR]
    figure, axes = plt.subplots(figsize=(9, 1.6 + 0.34 * len(bars)))
    labels = []
    for place, (value, name) in enumerate(bars):
        axes.barh(place, value, color=_colour(name))
        axes.text(value, place, f" {value:,.0f}", va="center", fontsize=8)
        clients = results.median("idle", name, "clients")
        labels.append(f"{name} ({clients:,.0f} clients)")
    axes.set_yticks(range(len(bars)), labels, fontsize=8)
    if bars:
        axes.set_xlim(0, bars[0][0] * 1.12)
    left_out = textwrap.fill(f"far beyond this scale: {', '.join(beyond)}", 70) if beyond else ""
    axes.set_xlabel(f"bytes (anonymous PSS of all the server's processes) per client\n{left_out}")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.set_title("What an idle client costs, after one exchange", loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    path = _finish(figure, results, path)
    plt.close(figure)
    return path


def _medians(results: Results, measure: str, figure: str) -> list[tuple[str, float]]:
    medians = []
    for name in results.samples[measure]:
        value = results.median(measure, name, figure)
        if value is not None:
            medians.append((name, value))
    return medians


def _echo_beside_idle(results: Results, path: Path) -> Path:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(9, 5))
    markers = iter("osD^vPX*")
    for name, rounds in results.samples["echo-beside-idle"].items():
        figures = next(iter(rounds.values()))
        levels = sorted(int(key[5:]) for key in figures if key.startswith("kept@"))
        base = results.median("echo-beside-idle", name, "per_second@0") or 0.0
        # The ratios were measured in turn; the rates at two levels are a minute apart, and would
        # show the machine's drift as if it were the idle clients' cost.
        kept = [results.median("echo-beside-idle", name, f"kept@{n}") or 0.0 for n in levels]
        levels, rates = [0, *levels], [base, *(base * ratio for ratio in kept)]
        axes.plot(
            levels,
            rates,
            marker=next(markers, "."),
            color=_colour(name),
            linestyle="--" if name == "epoll" else "-",
            label=name,
            clip_on=False,
        )
    axes.set_xlabel("idle clients beside the 50 that exchange lines")
    axes.set_ylabel("echo exchanges per second\n(with none idle, times the ratio measured in turn)")
    axes.set_ylim(bottom=0)
    axes.set_xlim(left=0)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.grid(axis="y", alpha=0.3)
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    axes.set_title("Echo of 50 clients while others are idle", loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    path = _finish(figure, results, path)
    plt.close(figure)
    return path
