"""How long to leave a server alone that refuses. Pure."""

from __future__ import annotations

from collections.abc import Callable

#: Seconds before the first retry. With no wait, one locust process asked a closed UDP port 12,600
#: times a second, and its table showed nothing else.
FIRST_DELAY = 0.1
#: Seconds between later retries; the delay doubles until then.
LAST_DELAY = 1.0


class Backoff:
    """Delays that double from FIRST_DELAY to LAST_DELAY while attempts fail."""

    def __init__(self, sleep: Callable[[float], object]) -> None:
        self._sleep = sleep
        self._delay = FIRST_DELAY

    def failed(self) -> None:
        """An attempt failed: sleep for the delay that is due."""
        delay = self._delay
        self._delay = min(2 * delay, LAST_DELAY)
        self._sleep(delay)

    def succeeded(self) -> None:
        self._delay = FIRST_DELAY
