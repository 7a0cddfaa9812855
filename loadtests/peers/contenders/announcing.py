"""What every contender's process does besides serving: read its variant, say where it listens."""

import sys
from collections.abc import Callable, Mapping


def announce(scheme: str, address: tuple[str, int]) -> None:
    """Print the one line the benchmark waits for; the socket must be listening already."""
    print(f"listening on {scheme}://{address[0]}:{address[1]}", flush=True)


def run_variant(variants: Mapping[str, Callable[[], None]]) -> None:
    """Serve the variant that the command line's only argument names; else exit, status 1."""
    name = sys.argv[1] if len(sys.argv) == 2 else ""
    if name not in variants:
        sys.exit(f"one variant must be given: {', '.join(variants)}")
    variants[name]()
