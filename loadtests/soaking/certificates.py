"""The certificates of a soak's TLS servers, made when it begins."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path

NAME = "soak.test"


class Certificates:
    """Two certificates in `folder`, of which each server has one at a time; clients trust both.

    Raises:
        RuntimeError: there is no openssl to make them, or it fails.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pair = [_make(folder / f"{name}.pem") for name in ("one", "other")]

    def context(self) -> ssl.SSLContext:
        """A context for clients."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        for path in self._pair:
            context.load_verify_locations(path)
        return context

    def path_for(self, mixin: str) -> Path:
        """The file that the server with this mixin reads its certificate from."""
        path = self._folder / f"of-{mixin}.pem"
        if not path.exists():
            shutil.copyfile(self._pair[0], path)
        return path

    def renew(self, path: Path) -> bytes:
        """Put the other certificate into a server's file; return it as clients will see it."""
        text = path.read_bytes()
        renewed = next(each for each in self._pair if each.read_bytes() != text)
        # At once: a server that is being made may read it now.
        fresh = path.with_suffix(".new")
        shutil.copyfile(renewed, fresh)
        fresh.replace(path)
        pem = renewed.read_text()
        return ssl.PEM_cert_to_DER_cert(pem[pem.index("-----BEGIN CERTIFICATE") :])


def _make(path: Path) -> Path:
    key, certificate = path.with_suffix(".key"), path.with_suffix(".crt")
    command = ["openssl", "req", "-x509", "-nodes", "-days", "30", "-subj", f"/CN={NAME}"]
    command += ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    command += ["-addext", f"subjectAltName=DNS:{NAME}"]
    try:
        subprocess.run(
            [*command, "-keyout", key, "-out", certificate], check=True, capture_output=True
        )
    except (OSError, subprocess.CalledProcessError) as error:
        raise RuntimeError(f"no certificate can be made: {error}") from error
    path.write_bytes(key.read_bytes() + certificate.read_bytes())
    return path
