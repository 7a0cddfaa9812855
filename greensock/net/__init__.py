"""Sockets: what a request is, how one is accepted, and addresses in words."""
