"""The other side of a control socket: finding a server's, and asking it."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from greensock.control import place
from greensock.control.place import NoControl
from greensock.control.rows import STATES, Row
from greensock.net import addresses
from greensock.net.addresses import Address
from greensock.printable import address_in_words

#: Seconds without a byte of an answer. A handler that computes keeps its server from answering.
_PATIENCE = 5.0

#: Bytes of one line of an answer: far more than a few hundred clients take. Root asks whoever has
#: made a socket.
_LONGEST_LINE = 1 << 24


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a server told: `about` itself (class, handler, address, pid, stats), and its clients."""

    about: dict[str, Any]
    rows: list[Row]


def find(text: str) -> Path:
    """The control socket of a server that is named by its process or by its address.

    Raises:
        NoControl: there is none such.
        ValueError: `text` names neither.
    """
    if text.isascii() and text.isdigit():
        own = place.find_sockets(text) + place.find_sockets(f"{text}-*")
        if not own:
            raise NoControl(f"process {text} has no control socket{_where_looked()}")
        if len(own) > 1:
            served = [address_in_words(each.about["address"]) for each in map(_about, own) if each]
            raise NoControl(f"process {text} has several servers: say {' or '.join(served)}")
        return own[0]
    wanted = addresses.parse(text)
    for path in place.find_sockets("*"):
        about = _about(path)
        if about is not None and _listens_on(about.about["address"], wanted):
            return path
    raise NoControl(f"no server on {wanted} has a control socket{_where_looked()}")


def _where_looked() -> str:
    where = "that root finds" if os.geteuid() == 0 else f"in {place.folder()}"
    return f" {where}; start it with greensock serve --control, or greensock run --control"


def _about(path: Path) -> Snapshot | None:
    """What a server tells of itself; None if it does not."""
    try:
        return ask(path, clients=False)
    except NoControl:
        return None


def _listens_on(told: Any, wanted: Address) -> bool:
    if wanted.scheme == "unix" or isinstance(told, str):
        # An abstract name is told as it is, and written with an @.
        return isinstance(told, str) and wanted.host in (told, address_in_words(told))
    # A server on all of a machine's addresses is on each of them.
    return told[1] == wanted.port and told[0] in {*_hosts(wanted), "0.0.0.0", "::"}


def _hosts(address: Address) -> Iterator[str]:
    """The host as it is written, and what it is the name of."""
    yield address.host
    with contextlib.suppress(OSError):
        for *_, found in socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM):
            yield str(found[0])


def ask(path: Path, clients: bool = True) -> Snapshot:
    """Ask a server about itself, and about its clients.

    Raises:
        NoControl: it does not answer.
    """
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(_PATIENCE)
        try:
            sock.connect(str(path))
            sock.sendall(b"clients\n" if clients else b"stats\n")
            with sock.makefile("rb") as answers:
                about = _next(answers, path)
                rows: list[Row] = []
                while clients and (some := _next(answers, path)):
                    rows += map(_row, some)
                _check(about)
        except TimeoutError:
            raise NoControl(f"{path} does not answer; does a handler keep its hub busy?") from None
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise NoControl(f"{path} does not answer as a server of greensock does") from error
        except OSError as error:
            raise NoControl(f"{path}: {error.strerror}") from error
    return Snapshot(about, rows)


def _next(answers: Any, path: Path) -> Any:
    line = answers.readline(_LONGEST_LINE)
    if not line:
        raise NoControl(f"{path} has hung up")
    return json.loads(line, parse_constant=_no_number)


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number of anything")


def _row(each: Any) -> Row:
    row = Row(*each)
    if row.state not in STATES or any(
        number is not None and number < 0 for number in (row.idle, row.received, row.sent)
    ):
        raise ValueError(f"{row} is no client")
    return row._replace(peer=str(row.peer), where=str(row.where))


def _check(about: Any) -> None:
    """Look whether all is there that is told of a server; raises KeyError or TypeError."""
    stats = about["stats"]
    for number in (stats["open"], stats["parked"], about["pid"]):
        number + 0
    if not isinstance(about["address"], (str, list)) or not about["address"]:
        raise TypeError("no address")
    _ = about["class"] + about["handler"]
