"""A user's mistake on the command line."""


class UsageError(Exception):
    """What the user must change, in one line; the command ends with status 2."""
