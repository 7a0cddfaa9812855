"""The options by which a command shows its servers."""

from __future__ import annotations

import argparse


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add them to the parser of `greensock serve` or `greensock run`."""
    parser.add_argument(
        "--control",
        action="store_true",
        help="answer `greensock top` of the same user on a Unix socket in a private folder",
    )
    parser.add_argument(
        "--metrics",
        metavar="ADDRESS",
        help='answer Prometheus over HTTP on host:port (needs the extra "metrics")',
    )
