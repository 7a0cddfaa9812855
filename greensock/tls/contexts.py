"""TLS contexts: one for a server from files, and a new certificate for one in use."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from typing import Any

from greensock.tls.sessions import context_lock

_Path = str | os.PathLike[str]

#: The C class below the standard library's SSLContext and gevent's: in a patched process
#: `ssl.SSLContext` is not the class of contexts made before.
_CContext = ssl.SSLContext.__mro__[-2]


def is_context(value: object) -> bool:
    """Whether `value` is an SSLContext, made before or after patching."""
    return isinstance(value, _CContext)


def server_context(
    certfile: _Path, keyfile: _Path | None = None, client_ca: _Path | None = None
) -> ssl.SSLContext:
    """A context for a server.

    Args:
        certfile: PEM file with the certificate and its chain, and the key if `keyfile` is None.
        client_ca: PEM file with the authorities whose certificates clients must show; None: clients
            need none.

    Raises:
        ValueError: what is in a file is of no use.
        OSError: a file cannot be read.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    replace_certificate(context, certfile, keyfile, _refuse_password)
    if client_ca is not None:
        with open(client_ca, encoding="ascii", errors="replace") as file:
            authorities = file.read()
        try:
            with context_lock:
                context.load_verify_locations(cadata=authorities)
        except (ssl.SSLError, ValueError) as error:
            raise ValueError(f"there is no certificate in {client_ca}") from error
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _refuse_password() -> str:
    # Without one, OpenSSL asks for it on the terminal.
    raise ValueError("the key is encrypted; a server that starts by itself needs it in the clear")


def replace_certificate(
    context: ssl.SSLContext, certfile: _Path, keyfile: _Path | None = None, password: Any = None
) -> None:
    """Load a certificate and its key into a context that may be in use.

    Raises:
        ValueError: they are no certificate and its key.
        OSError: a file cannot be read.
    """
    tried_certificate(context, certfile, keyfile, password)()


def tried_certificate(
    context: ssl.SSLContext, certfile: _Path, keyfile: _Path | None = None, password: Any = None
) -> Callable[[], None]:
    """Read a certificate and its key; return what loads them into a context that may be in use.

    All or nothing: `load_cert_chain` itself leaves a context with a certificate and without a key
    where the key does not fit. So the files are read once, and tried with a context of their own.

    Raises:
        ValueError: they are no certificate and its key; also when they are loaded.
        OSError: a file cannot be read.
    """
    certificate = _read(certfile)
    key = None if keyfile is None else _read(keyfile)

    def load_into(context: ssl.SSLContext) -> None:
        try:
            _load(context, certificate, key, password)
        except ssl.SSLError as error:
            where = f"{certfile} and {keyfile}" if keyfile is not None else f"{certfile}"
            raise ValueError(
                f"there is no certificate with its key in {where}: {_why(error)}"
            ) from error

    with context_lock:
        load_into(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))

    def load() -> None:
        with context_lock:
            load_into(context)

    return load


def _read(path: _Path) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _load(context: ssl.SSLContext, certificate: bytes, key: bytes | None, password: Any) -> None:
    # `load_cert_chain` takes paths only. These lead to memory: whatever is renewed on the disk
    # meanwhile, what is loaded is what was tried.
    files = [_in_memory(data) for data in (certificate, key) if data is not None]
    try:
        paths = [f"/proc/self/fd/{fd}" for fd in files]
        context.load_cert_chain(paths[0], paths[-1], password)
    finally:
        for fd in files:
            os.close(fd)


def _in_memory(data: bytes) -> int:
    fd = os.memfd_create("greensock-tls", os.MFD_CLOEXEC)
    with open(fd, "wb", closefd=False) as file:
        file.write(data)
    return fd


def _why(error: ssl.SSLError) -> str:
    reason = (error.reason or "").replace("_", " ").lower()
    return "it is no PEM file of both" if reason in ("", "pem lib", "no start line") else reason
