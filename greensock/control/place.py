"""Where control sockets are: a folder that nobody else can enter.

`$XDG_RUNTIME_DIR/greensock`, or `/tmp/greensock-UID` where there is no such variable. In /tmp
somebody else may have made a folder of that name: one that is not this user's, or that others may
enter, is not used.

Whoever looks for a server may have another environment than it has, and root looks for everybody's:
so both folders of a user are looked into, by root those of all users.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

_RUNTIME_FOLDERS = Path("/run/user")
_TEMPORARY = Path("/tmp")
_PREFIX = "greensock-"


class NoControl(Exception):
    """There is no control socket to be had or found; the text says why."""


def folder() -> Path:
    """Where this process's control sockets are; it need not exist."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    return Path(runtime, "greensock") if runtime else _TEMPORARY / f"{_PREFIX}{os.geteuid()}"


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
    check_private(place, os.geteuid())
    return place


def check_private(place: Path, owner: int) -> None:
    """Check that a folder is the user `owner`'s alone.

    Raises:
        NoControl: it is not, or is none.
    """
    try:
        status = place.lstat()
    except OSError as error:
        raise NoControl(f"{place}: {error.strerror}") from error
    if not stat.S_ISDIR(status.st_mode):
        raise NoControl(f"{place} must be a folder")
    if status.st_uid != owner:
        raise NoControl(f"{place} must belong to user {owner}, not {status.st_uid}")
    if status.st_mode & 0o077:
        mode = stat.S_IMODE(status.st_mode)
        raise NoControl(f"{place} must be open to its user alone (mode 0700, not {mode:04o})")


def _folders() -> Iterator[tuple[Path, int]]:
    """Where sockets that this user may ask can be, with the user whose folder each must be."""
    user = os.geteuid()
    yield folder(), user
    yield _TEMPORARY / f"{_PREFIX}{user}", user
    yield _RUNTIME_FOLDERS / str(user) / "greensock", user
    if user == 0:
        for place in sorted(_TEMPORARY.glob(f"{_PREFIX}*")):
            if (number := place.name.removeprefix(_PREFIX)).isdecimal():
                yield place, int(number)
        for runtime in sorted(_RUNTIME_FOLDERS.glob("*")):
            if runtime.name.isdecimal():
                yield runtime / "greensock", int(runtime.name)


def find_sockets(pattern: str) -> list[Path]:
    """The control sockets that this user may ask, by a pattern for the name before `.sock`.

    Some may be left over from ended processes.

    Raises:
        NoControl: this process's own folder is not private.
    """
    if folder().exists():
        check_private(folder(), os.geteuid())
    found: dict[Path, None] = {}
    for place, owner in _folders():
        # Another's folder that is not as it must be is none of ours.
        with contextlib.suppress(NoControl, OSError):
            check_private(place, owner)
            found |= dict.fromkeys(sorted(place.glob(f"{pattern}.sock")))
    return list(found)
