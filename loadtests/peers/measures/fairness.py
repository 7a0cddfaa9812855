"""How long a client with one small question waits while another floods the server."""

from ..catalogue import Contender
from ..machine import Cores
from ..running import serving
from .measure import NEAREST, Column, Figures, Measure, Scale


def measure_flood(contender: Contender, scale: Scale, cores: Cores) -> Figures:
    """One client sends lines without pause and reads every answer; another is timed."""
    with serving(contender, cores) as (_, generator):
        # Twice the usual window: where the asker starves, it makes few exchanges in a second.
        return generator.ask("flood", **scale.load() | {"seconds": 2 * scale.window})


FLOOD = Measure(
    name="flood",
    title="One client asks a line at a time while another floods the server",
    kind="tcp",
    run=measure_flood,
    columns=(
        Column("p50_us", "p50 us"),
        Column("p99_us", "p99 us"),
        Column("max_us", "max us"),
        Column("done", "exchanges"),
        Column("flooded_per_second", "flooded lines/s"),
        Column("server_cpu", "server CPU", 2),
    ),
    quick_contenders=NEAREST,
    max_rounds=1,
)
