from __future__ import annotations

from greensock.loadtest.clients.backoff import Backoff


def test_delay_doubles_to_a_second_until_a_success() -> None:
    slept: list[float] = []
    backoff = Backoff(slept.append)
    for _ in range(6):
        backoff.failed()
    assert slept == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
    backoff.succeeded()
    backoff.failed()
    assert slept[-1] == 0.1
