"""The server under test: its process, peers that are not greensock's, what it uses."""
