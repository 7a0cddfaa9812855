"""What all pictures share: how they are made and saved, and a contender's colour and marker.

Figures are made without pyplot, which keeps global state and may ask for a display.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from io import StringIO
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font

from greensock.compare.planning.contenders import MIXINS, PEERS
from greensock.compare.results.metrics import METRICS

# Okabe and Ito's colours, which the colour-blind can tell apart; greenlets are green.
_PALETTE = (
    "#009E73",
    "#0072B2",
    "#D55E00",
    "#4D4D4D",
    "#56B4E9",
    "#E69F00",
    "#999999",
    "#CC79A7",
    "#8C6D1F",
    "#882255",
    "#332288",
)
COLOURS = dict(zip(MIXINS + PEERS, _PALETTE, strict=True))
MARKERS = dict(zip(MIXINS + PEERS, "os^DvP<X>dp", strict=True))

STYLE: dict[Any, Any] = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "figure.constrained_layout.use": True,
}


_TITLE_SIZE = 11  # points
_MARGIN = 0.1  # inches left and right of a title


@dataclass(frozen=True)
class Plot:
    """One picture. `draw` puts it into an empty figure; the title is put above it."""

    name: str
    title: str
    draw: Callable[[Figure], None]
    size: tuple[float, float] = (7.2, 3.6)
    legend: int = 0  # entries, for which there must be room

    @cached_property
    def figure(self) -> Figure:
        width, height = self.size
        title = wrapped(self.title, width - 2 * _MARGIN)
        lines = title.count("\n") + self.legend
        figure = Figure(figsize=(width, max(height, 1.2 + 0.22 * lines)))
        self.draw(figure)
        # Over the whole figure, not the axes: beside long names these are too narrow for it.
        left = _MARGIN / width
        figure.suptitle(title, x=left, ha="left", fontsize=_TITLE_SIZE, fontweight="bold")
        return figure

    @cached_property
    def _svg_page(self) -> str:
        # A salt of its own keeps the ids of several pictures in one page apart.
        with rc_context({**STYLE, "svg.hashsalt": self.name}):
            text = StringIO()
            self.figure.savefig(text, format="svg", metadata={"Date": None})
        return text.getvalue()

    def svg(self) -> str:
        """The picture as an SVG element, to be put into a page."""
        return self._svg_page[self._svg_page.index("<svg") :]

    def save(self, folder: Path) -> None:
        """Write NAME.png and NAME.svg."""
        (folder / f"{self.name}.svg").write_text(self._svg_page, encoding="utf-8")
        with rc_context(STYLE):
            self.figure.savefig(folder / f"{self.name}.png", dpi=144)


def wrapped(text: str, width: float) -> str:
    """As a title: lines of so many inches, with a capital unless it begins with a name."""
    first = text.partition(" ")[0]
    if first not in METRICS and first not in COLOURS:
        text = text[:1].upper() + text[1:]
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".lstrip()
        if lines[-1] and inches(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return "\n".join(lines)


def inches(text: str) -> float:
    """How wide a line of a title is."""
    font = get_font(findfont(FontProperties(weight="bold")))
    font.set_size(_TITLE_SIZE, 72)
    font.set_text(text)
    return float(font.get_width_height()[0]) / 64 / 72


def in_thousands(value: float, _place: object = None) -> str:
    """For an axis: 2,000 and not 2000."""
    return f"{value:,.10g}"
