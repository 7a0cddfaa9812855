"""What programs may set of a server, and what they may not."""
