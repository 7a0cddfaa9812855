"""TLS: sessions, the sockets over them, and their turns. Loaded by who needs it."""
