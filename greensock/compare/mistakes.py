"""What the user must change."""


class UserMistake(ValueError):
    """An option, a file or a target that cannot be used; the text is one line for the user."""
