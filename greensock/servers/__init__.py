"""The server classes, and the servers of a process."""
