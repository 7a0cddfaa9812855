"""Idle clients of a server under test: the process that holds them, and what they cost."""
