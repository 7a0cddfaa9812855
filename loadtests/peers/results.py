"""The figures of one run: every sample, the medians over the rounds, the ratios within them."""

import statistics
from dataclasses import dataclass, field
from typing import Any

from .measures import Figures


@dataclass(slots=True)
class Results:
    """What was measured, and what was not and why.

    Attributes:
        head: Machine, versions, date, command: whatever a reader needs to judge the figures.
        samples: Of each measure and contender, the figures of each round that had any.
        reasons: Of each measure and contender, why the last round that failed has none.
        seconds: How long each measure took, all contenders and rounds together.
    """

    head: dict[str, Any]
    samples: dict[str, dict[str, dict[int, Figures]]] = field(default_factory=dict)
    reasons: dict[str, dict[str, str]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def add(self, measure: str, contender: str, round_number: int, figures: Figures) -> None:
        """Keep the figures of one contender in one round."""
        self.samples.setdefault(measure, {}).setdefault(contender, {})[round_number] = figures

    def fail(self, measure: str, contender: str, reason: str) -> None:
        """Keep the reason why a contender has no figures."""
        self.reasons.setdefault(measure, {})[contender] = reason

    def values(self, measure: str, contender: str, figure: str) -> dict[int, float]:
        """A figure by round; rounds without it are left out."""
        rounds = self.samples.get(measure, {}).get(contender, {})
        return {
            number: float(figures[figure])
            for number, figures in rounds.items()
            if figures.get(figure) is not None
        }

    def median(self, measure: str, contender: str, figure: str) -> float | None:
        """The median over the rounds; None if there is no figure."""
        values = self.values(measure, contender, figure)
        return statistics.median(values.values()) if values else None

    def ratio(self, measure: str, figure: str, contender: str, against: str) -> float | None:
        """The median of the ratios within each round, so that drift between the rounds cancels."""
        ours = self.values(measure, contender, figure)
        theirs = self.values(measure, against, figure)
        ratios = [ours[n] / theirs[n] for n in ours.keys() & theirs.keys() if theirs[n]]
        return statistics.median(ratios) if ratios else None

    def saturated(self, measure: str, contender: str, suffix: str = "") -> bool:
        """Whether the load generator, not the server, was the limit in any round."""
        return any(self.values(measure, contender, f"saturated{suffix}").values())

    def disturbed(self, measure: str, contender: str, suffix: str = "") -> bool:
        """Whether other programs took a noticeable share of the CPUs in any round."""
        return any(self.values(measure, contender, f"disturbed{suffix}").values())

    def as_json(self) -> dict[str, Any]:
        """Everything, the medians included."""
        medians = {
            measure: {
                contender: {
                    figure: self.median(measure, contender, figure)
                    for figure, value in next(iter(rounds.values())).items()
                    if isinstance(value, int | float)
                }
                for contender, rounds in contenders.items()
            }
            for measure, contenders in self.samples.items()
        }
        samples = {
            measure: {name: list(rounds.values()) for name, rounds in contenders.items()}
            for measure, contenders in self.samples.items()
        }
        return self.head | {
            "seconds": self.seconds,
            "medians": medians,
            "samples": samples,
            "not_measured": self.reasons,
        }
