"""The run itself: every measure of every contender, in turn, round after round."""

import time
from collections.abc import Callable
from subprocess import SubprocessError

from .catalogue import Contender
from .machine import Cores
from .measures import Measure, Scale
from .results import Results
from .running import NotMeasured


def run(
    results: Results,
    measures: list[Measure],
    contenders: list[Contender],
    scale: Scale,
    cores: Cores,
    tell: Callable[[str], None],
) -> None:
    """Measure into ``results``; ``tell`` gets a line whenever a measure begins, or one fails.

    Contenders alternate within a round, and rounds within the run: a machine that slows down for a
    minute slows them all, and a ratio within a round stays what it was.
    """
    for round_number in range(scale.rounds):
        for measure in measures:
            if measure.max_rounds is not None and round_number >= measure.max_rounds:
                continue
            chosen = [one for one in contenders if measure.suits(one, scale)]
            tell(f"round {round_number + 1}: {measure.name}, {len(chosen)} contenders")
            for contender in chosen:
                start = time.perf_counter()
                try:
                    figures = measure.run(contender, scale, cores)
                except (NotMeasured, OSError, SubprocessError) as reason:
                    # A server or its load may die at any point; the rest is measured all the same.
                    results.fail(measure.name, contender.name, str(reason))
                    tell(f"  {contender.name}: not measured: {reason}")
                else:
                    results.add(measure.name, contender.name, round_number, figures)
                spent = time.perf_counter() - start
                results.seconds[measure.name] = results.seconds.get(measure.name, 0) + spent
