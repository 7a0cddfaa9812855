"""The sockets of clients, by what runs their handlers."""
