"""What is measured, one family of measures per module; `ALL` in the order of a run."""

from .connections import CONNECT, GROWTH
from .echo import BESIDE_IDLE, ECHO, UDP
from .fairness import FLOOD
from .http import HTTP
from .idle import IDLE
from .measure import FULL, QUICK, Column, Figures, Measure, Scale
from .startup import STARTUP

ALL = (IDLE, ECHO, CONNECT, BESIDE_IDLE, UDP, HTTP, STARTUP, FLOOD, GROWTH)
BY_NAME = {measure.name: measure for measure in ALL}

__all__ = ["ALL", "BY_NAME", "FULL", "QUICK", "Column", "Figures", "Measure", "Scale"]
