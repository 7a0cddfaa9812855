"""Where control sockets are: a folder that nobody else can enter.

`$XDG_RUNTIME_DIR/greensock`, or `/tmp/greensock-UID` where there is no such variable. In /tmp
somebody else may have made a folder of that name: one that is not this user's, or that others may
enter, is not used.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path


class NoControl(Exception):
    """There is no control socket to be had or found; the text says why."""


def folder() -> Path:
    """Where this user's control sockets are; it need not exist."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    return Path(runtime, "greensock") if runtime else Path(f"/tmp/greensock-{os.geteuid()}")


def socket_path(pid: int) -> Path:
    """The control socket of a process of this user."""
    return folder() / f"{pid}.sock"


def make_folder() -> Path:
    """The folder, made if it was missing.

    Raises:
        NoControl: it cannot be made, or is not private.
    """
    place = folder()
    try:
        place.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise NoControl(f"cannot make {place}: {error.strerror}") from error
    check_private(place)
    return place


def check_private(place: Path) -> None:
    """Check that a folder is this user's alone.

    Raises:
        NoControl: it is not, or is none.
    """
    try:
        status = place.lstat()
    except OSError as error:
        raise NoControl(f"{place}: {error.strerror}") from error
    if not stat.S_ISDIR(status.st_mode):
        raise NoControl(f"{place} must be a folder")
    if status.st_uid != os.geteuid():
        raise NoControl(f"{place} must belong to user {os.geteuid()}, not {status.st_uid}")
    if status.st_mode & 0o077:
        mode = stat.S_IMODE(status.st_mode)
        raise NoControl(f"{place} must be open to its user alone (mode 0700, not {mode:04o})")


def all_sockets() -> list[Path]:
    """The control sockets of this user's processes; some may be left over from ended ones.

    Raises:
        NoControl: the folder is not private.
    """
    place = folder()
    if not place.exists():
        return []
    check_private(place)
    return sorted(place.glob("*.sock"))
