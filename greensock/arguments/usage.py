"""A user's mistake on the command line."""

import argparse
from typing import NoReturn


class UsageError(Exception):
    """What the user must change, in one line; the command ends with status 2."""


class OneLineParser(argparse.ArgumentParser):
    """Tells a mistake in one line, without the usage that argparse puts before it."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")
