"""What somebody else has said, as text that a terminal only shows.

A client may call itself, or send as its request, what moves a terminal's cursor, sets its title,
writes from right to left or begins a line that looks like another record's.
"""

from __future__ import annotations

import os
from typing import Any


def printable(text: str, keep: str = "") -> str:
    r"""The text with `\xNN`, `\uNNNN` for all that is no visible character, nor one of `keep`."""
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() or each in keep else ascii(each)[1:-1] for each in text
    )


def address_in_words(address: Any) -> str:
    """A socket's address: `host:port`, `[::1]:port`, a path, or `@name` of an abstract socket."""
    if isinstance(address, (tuple, list)):
        host, port = (*address, "", "")[:2]
        return printable(f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}")
    is_bytes = isinstance(address, (bytes, bytearray))
    name = os.fsdecode(bytes(address)) if is_bytes else str(address)
    return printable(f"@{name[1:]}" if name[:1] == "\0" else name)
