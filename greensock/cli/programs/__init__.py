"""The program that `greensock run` runs: as `python` would have begun it, and its servers."""
