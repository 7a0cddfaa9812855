"""Handler classes: which of them are parked, how they are made, and where they are."""
