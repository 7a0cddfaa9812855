"""Turns: how a handler is run for what its client has said, and how a client ends."""
