"""Signals and what their handlers raise, beside a hub."""
