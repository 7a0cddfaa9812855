"""What all pictures share: how they are made and saved, and a contender's colour and marker.

Figures are made without pyplot, which keeps global state and may ask for a display.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

from greensock.compare.contenders import MIXINS, PEERS

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
)
COLOURS = dict(zip(MIXINS + PEERS, _PALETTE, strict=True))
MARKERS = dict(zip(MIXINS + PEERS, "os^DvP<X>", strict=True))

STYLE: dict[Any, Any] = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "figure.constrained_layout.use": True,
}


@dataclass(frozen=True)
class Plot:
    """One picture. `draw` puts it into an empty figure; the title is put above it."""

    name: str
    title: str
    draw: Callable[[Figure], None]
    size: tuple[float, float] = (7.2, 3.6)

    def render(self) -> Figure:
        figure = Figure(figsize=self.size)
        self.draw(figure)
        # Over the whole figure, not the axes: beside long names these are too narrow for it.
        figure.suptitle(wrapped(self.title), x=0.01, ha="left", fontsize=11, fontweight="bold")
        return figure

    def svg(self) -> str:
        """The picture as an SVG element, to be put into a page."""
        # A salt of its own keeps the ids of several pictures in one page apart.
        with rc_context({**STYLE, "svg.hashsalt": self.name}):
            text = StringIO()
            self.render().savefig(text, format="svg", metadata={"Date": None})
        page = text.getvalue()
        return page[page.index("<svg") :]

    def save(self, folder: Path) -> None:
        """Write NAME.png and NAME.svg."""
        with rc_context({**STYLE, "svg.hashsalt": self.name}):
            figure = self.render()
            figure.savefig(folder / f"{self.name}.png", dpi=144)
            figure.savefig(folder / f"{self.name}.svg", metadata={"Date": None})


def wrapped(text: str, width: int = 76) -> str:
    return textwrap.fill(text[:1].upper() + text[1:], width)
