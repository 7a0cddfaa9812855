"""Clients of locust's users: sockets whose exchanges are timed to the microsecond."""
