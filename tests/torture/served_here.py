"""What the tests have served that greensock.examples has no handler for."""

from greensock import BaseRequestHandler
from greensock.examples import Echo


class EchoWithoutTerminator(Echo):
    """Begins with the first byte of a line, and waits for the rest."""

    request_terminator = None


class EchoDatagram(BaseRequestHandler):
    """Sends each datagram back."""

    def handle(self) -> None:
        data, sock = self.request
        sock.sendto(data, self.client_address)
