"""The listening side of a server, and what the kernel says of its connections."""
