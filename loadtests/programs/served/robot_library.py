"""robotremoteserver: a keyword library over XML-RPC, without a mixin."""

import sys

from robotremoteserver import RobotRemoteServer


class Library:
    def add(self, one: float, other: float) -> float:
        return one + other

    def fail(self, reason: str) -> None:
        raise ValueError(reason)


if __name__ == "__main__":
    RobotRemoteServer(Library(), host="127.0.0.1", port=sys.argv[1])
