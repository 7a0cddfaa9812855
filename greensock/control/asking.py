"""The other side of a control socket: finding a server's, and asking it."""

from __future__ import annotations

import contextlib
import json
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from greensock.control import place
from greensock.control.place import NoControl
from greensock.control.rows import Row
from greensock.net import addresses

#: Seconds without a byte of an answer. A handler that computes keeps its server from answering.
_PATIENCE = 5.0


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
        path = place.socket_path(int(text))
        if not path.exists():
            raise NoControl(
                f"process {text} has no control socket in {path.parent}; "
                "start it with greensock serve --control"
            )
        place.check_private(path.parent)
        return path
    wanted = addresses.parse(text)
    for path in place.all_sockets():
        with contextlib.suppress(NoControl):
            if _listens_on(ask(path, clients=False).about["address"], wanted.sockaddr):
                return path
    raise NoControl(
        f"no server on {wanted} has a control socket in {place.folder()}; "
        "start it with greensock serve --control"
    )


def _listens_on(told: Any, wanted: Any) -> bool:
    if isinstance(wanted, str) or isinstance(told, str):
        return bool(told == wanted)
    # A server on all of a machine's addresses is on each of them.
    return told[1] == wanted[1] and told[0] in (wanted[0], "0.0.0.0", "::")


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
                    rows += [Row(*each) for each in some]
        except TimeoutError:
            raise NoControl(f"{path} does not answer; does a handler keep its hub busy?") from None
        except OSError as error:
            raise NoControl(f"{path}: {error.strerror}") from error
    return Snapshot(about, rows)


def _next(answers: Any, path: Path) -> Any:
    line = answers.readline()
    if not line:
        raise NoControl(f"{path} has hung up")
    return json.loads(line)
