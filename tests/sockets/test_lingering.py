"""The sockets whose calls block a thread or child, and that can wait for a short while."""

import socket
import threading

from greensock.hub.workers.demand import Demand
from greensock.sockets import lingering
from greensock.sockets.lingering import LingeringSocket

from ..clients import eventually


def test_a_number_that_another_thread_still_waits_for_can_be_waited_for() -> None:
    """That thread's client was closed; the next has the same number, and the same poller."""
    crowd = Demand()
    ours, theirs = socket.socketpair()
    request = LingeringSocket(fileno=ours.detach())
    poller = lingering._poller(request.fileno(), crowd.fileno())
    waiting = threading.Thread(target=poller.poll)
    waiting.start()

    def is_taken() -> bool:
        try:
            poller.poll(0)
        except RuntimeError:
            return True
        return False

    try:
        eventually(is_taken)
        assert request.receive_within(0.01, crowd) is None
        theirs.sendall(b"soon")
        assert request.receive_within(60.0, crowd) == b"soon"
    finally:
        theirs.close()
        waiting.join()
        request.close()
        crowd.close()
