"""What handlers read from and write to, and where a request ends."""
