"""The lot: parked clients, and all that is kept for a client."""
